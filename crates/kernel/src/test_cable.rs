//! Two namespaces joined by a cable, for the tests of everything that has to do with two hosts.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::link::{self, Link, Selector};
use crate::netlink::{Protocol, Socket};
use crate::netns::{
    Namespace, add_address, create_veth, disable_duplicate_address_detection, set_up,
};

/// Each end is called `eth0` and is up; its addresses are 10.9.0.1 and fd09::1 here, 10.9.0.2 and
/// fd09::2 there.
pub(crate) struct Cable {
    pub(crate) here: Namespace,
    pub(crate) there: Namespace,
}

impl Cable {
    pub(crate) fn new() -> Self {
        let cable = Self { here: namespace(), there: namespace() };
        cable.here(|| create_veth("eth0", "eth0", &cable.there).expect("make a veth pair"));
        cable.here(|| up(&["10.9.0.1/24", "fd09::1/64"]));
        cable.there(|| up(&["10.9.0.2/24", "fd09::2/64"]));
        cable.here(carries_traffic);
        cable.there(carries_traffic);
        cable
    }

    pub(crate) fn here<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.here.run(work).expect("enter the namespace")
    }

    pub(crate) fn there<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.there.run(work).expect("enter the namespace")
    }
}

fn namespace() -> Namespace {
    let namespace =
        Namespace::new().expect("these tests make network namespaces: run them as root");
    namespace.run(disable_duplicate_address_detection).unwrap().unwrap();
    namespace
}

fn up(addresses: &[&str]) {
    set_up("eth0").unwrap();
    for address in addresses {
        give(address);
    }
}

/// Waits until the kernel has noticed the carrier: until then it drops what is sent.
fn carries_traffic() {
    wait_for("the link to carry traffic", || {
        run("ip", &["-oneline", "link", "show", "eth0"]).contains(" state UP ").then_some(())
    });
}

/// Gives `eth0` one more address, with its prefix length.
pub(crate) fn give(address: &str) {
    add_address("eth0", &address.parse().unwrap()).unwrap();
}

pub(crate) fn eth0() -> Link {
    let mut socket = Socket::open(Protocol::Route).unwrap();
    link::find(&mut socket, &Selector::Name("eth0".to_owned())).unwrap()
}

/// Runs a program to its end in the namespace of this thread and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("these tests need the program {program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Listens on a port of all addresses of both families.
pub(crate) fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("::", port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Connects to `address` and says which of the listeners got the connection.
pub(crate) fn port_reached(
    address: impl Into<IpAddr>,
    port: u16,
    from: &Namespace,
    listeners: &[TcpListener],
) -> u16 {
    let address = SocketAddr::new(address.into(), port);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(3));
    let client = from.run(connect).unwrap().unwrap_or_else(|error| panic!("{address}: {error}"));
    let client = client.local_addr().unwrap().port();
    wait_for("the connection to be accepted", || {
        listeners.iter().find_map(|listener| {
            let (_, peer) = listener.accept().ok()?;
            assert_eq!(peer.port(), client);
            Some(listener.local_addr().unwrap().port())
        })
    })
}

/// Asks every few milliseconds until there is an answer; panics after ten seconds.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        if let Some(answer) = ask() {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}
