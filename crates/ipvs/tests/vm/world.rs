//! A segment with control plane nodes and a client on it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ipvs::{Handle, VirtualServer};
use kernel::netns::{self, Namespace};
use kernel::{link, netlink};
use socket2::{Domain, Socket, Type};

use crate::node::Node;

pub(crate) const VIP: &str = "10.0.0.100";
pub(crate) const VIP6: &str = "fd00::100";
pub(crate) const PORT: u16 = 6443;

/// Three nodes, 10.0.0.11 to 13 and fd00::11 to 13, each with an apiserver that says its name; and
/// a client, 10.0.0.200 to 209 and fd00::200.
pub(crate) struct World {
    pub(crate) nodes: [Node; 3],
    pub(crate) client: Client,
    _hub: Namespace,
}

pub(crate) struct Client {
    pub(crate) namespace: Namespace,
}

/// An open connection to an apiserver.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// The name of the node that answered.
    pub(crate) server: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let hub = Namespace::new().unwrap();
        hub.run(|| {
            netns::create_bridge("bridge").unwrap();
            netns::set_up("bridge").unwrap();
        })
        .unwrap();
        let join = |namespace: &Namespace, cable: &str, addresses: &[String]| {
            namespace.run(|| netns::disable_duplicate_address_detection().unwrap()).unwrap();
            hub.run(|| {
                netns::create_veth(cable, "eth0", namespace).unwrap();
                netns::set_master(cable, "bridge").unwrap();
                netns::set_up(cable).unwrap();
            })
            .unwrap();
            namespace
                .run(|| {
                    netns::set_up("eth0").unwrap();
                    for address in addresses {
                        netns::add_address("eth0", &address.parse().unwrap()).unwrap();
                    }
                })
                .unwrap();
        };
        let nodes = [11, 12, 13].map(|number| {
            let namespace = Namespace::new().unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            join(&namespace, &format!("node{number}"), &addresses);
            Node::new(namespace, number)
        });
        let client = Client { namespace: Namespace::new().unwrap() };
        let mut addresses: Vec<String> = (200..210).map(|it| format!("10.0.0.{it}/24")).collect();
        addresses.push("fd00::200/64".into());
        join(&client.namespace, "client", &addresses);
        for node in &nodes {
            for address in node.real_servers() {
                wait_for("the segment to carry traffic", || client.connect(address).ok());
            }
        }
        Self { nodes, client, _hub: hub }
    }

    /// The IPv4 apiservers of all nodes.
    pub(crate) fn real_servers(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.real_servers()[0]).collect()
    }

    /// The same service on every node.
    pub(crate) fn start(&self, server: &VirtualServer) -> [Handle; 3] {
        let real_servers = self.real_servers();
        self.nodes.each_ref().map(|node| node.start(vec![server.clone()], &real_servers))
    }

    /// Those of both families.
    pub(crate) fn all_real_servers(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flat_map(Node::real_servers).collect()
    }
}

impl Client {
    pub(crate) fn connect(&self, to: SocketAddr) -> Result<Connection, String> {
        self.connect_from(None, to)
    }

    /// Connects from one of the client's addresses, the last number of which is given.
    pub(crate) fn connect_from(
        &self,
        from: Option<u8>,
        to: SocketAddr,
    ) -> Result<Connection, String> {
        let from = from.map(|last| SocketAddr::from(([10, 0, 0, last], 0)));
        self.namespace.run(|| connect(from, to)).unwrap()
    }

    /// A connection from each of its ten IPv4 addresses.
    pub(crate) fn ten_connections(&self, to: SocketAddr) -> Vec<Connection> {
        (200..210).map(|last| self.connect_from(Some(last), to).unwrap()).collect()
    }

    /// Which servers answer so many connections to the address, one after the other.
    pub(crate) fn servers(&self, count: usize, to: SocketAddr) -> Vec<String> {
        (0..count).map(|_| self.connect(to).unwrap().server).collect()
    }

    /// Which server answers each of the client's ten IPv4 addresses.
    pub(crate) fn servers_by_source(&self, to: SocketAddr) -> Vec<String> {
        let ask = |last| self.connect_from(Some(last), to).unwrap().server;
        (200..210).map(ask).collect()
    }

    /// Forgets who has which address, as a gratuitous ARP or a neighbour advertisement would have
    /// it.
    pub(crate) fn forget_neighbours(&self) {
        self.run("ip", &["-4", "neigh", "flush", "all"]);
        self.run("ip", &["-6", "neigh", "flush", "all"]);
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.namespace.run(|| run(program, arguments)).unwrap()
    }

    /// The MACs of the nodes that say on the segment to have the address.
    pub(crate) fn who_has(&self, address: &str) -> Vec<link::Mac> {
        let address: IpAddr = address.parse().unwrap();
        let ask = || {
            let eth0 = eth0();
            let mut probe = kernel::probe::Probe::open(eth0.index, eth0.mac.unwrap()).unwrap();
            probe.ask(address).unwrap();
            thread::sleep(Duration::from_millis(300));
            probe.answers().unwrap().iter().map(|answer| answer.mac).collect()
        };
        self.namespace.run(ask).unwrap()
    }
}

impl Connection {
    /// Sends a line and gets it back.
    pub(crate) fn echo(&mut self) -> Result<(), String> {
        self.say()?;
        let mut answer = String::new();
        match self.stream.read_line(&mut answer) {
            Ok(_) if answer == "hello\n" => Ok(()),
            Ok(_) => Err(format!("got {answer:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn say(&mut self) -> Result<(), String> {
        self.stream.get_mut().write_all(b"hello\n").map_err(|error| error.to_string())
    }
}

fn connect(from: Option<SocketAddr>, to: SocketAddr) -> Result<Connection, String> {
    let open = || {
        let domain = if to.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&from.into())?;
        }
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect_timeout(&to.into(), Duration::from_secs(3))?;
        let mut stream = BufReader::new(TcpStream::from(socket));
        let mut server = String::new();
        stream.read_line(&mut server)?;
        Ok(Connection { stream, server: server.trim_end().to_owned() })
    };
    open().map_err(|error: std::io::Error| error.to_string())
}

/// Connects in the namespace of the thread that calls it, and says which server answered.
pub(crate) fn connect_here(to: SocketAddr) -> impl Fn() -> Result<String, String> + Send {
    move || connect(None, to).map(|it| it.server)
}

pub(crate) fn vip() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), PORT)
}

pub(crate) fn vip6() -> SocketAddr {
    SocketAddr::new(VIP6.parse().unwrap(), PORT)
}

/// The interface `eth0` of this thread's namespace.
pub(crate) fn eth0() -> link::Link {
    let mut socket = netlink::Socket::open(netlink::Protocol::Route).unwrap();
    link::find(&mut socket, &link::Selector::Name("eth0".into())).unwrap()
}

/// Runs a program to its end in the namespace of this thread and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asks until there is an answer; panics after half a minute. In a virtual machine a program takes a
/// tenth of a second to start, so it is not asked more often than that.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain for {what}");
}

/// How often each occurs, sorted by name.
pub(crate) fn count(names: &[String]) -> Vec<(&str, usize)> {
    let mut counted = std::collections::BTreeMap::new();
    for name in names {
        *counted.entry(name.as_str()).or_insert(0) += 1;
    }
    counted.into_iter().collect()
}

/// Answers every connection with the name, then says back what it hears.
pub(crate) fn serve(stream: &mut TcpStream, name: &str) -> std::io::Result<()> {
    writeln!(stream, "{name}")?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
