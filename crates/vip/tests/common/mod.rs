//! A network segment of namespaces on a bridge, and speakers on its hosts. Needs root.

#![allow(dead_code, reason = "each test program uses its share")]

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use kernel::link::{self, Mac, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::netns::{
    Namespace, add_address, create_bridge, create_veth, disable_duplicate_address_detection,
    set_master, set_up,
};
use vip::{Event, Instance, Service, Settings, Vip};
use vrrp::{ChecksumChoice, State, Version};

/// Hosts on one bridge, numbered from 1. Host n has 10.5.0.n and fd05::n on its eth0.
pub(crate) struct Segment {
    bridge: Namespace,
    hosts: Vec<Host>,
}

struct Host {
    namespace: Namespace,
    mac: Mac,
}

/// What all routers of one virtual router agree on; its identifier is 51.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) version: Version,
    pub(crate) password: Option<&'static str>,
    pub(crate) interval: Duration,
    pub(crate) address: &'static str,
    /// The hosts that speak unicast with one another; none for multicast.
    pub(crate) unicast: Vec<usize>,
}

/// Ours.
pub(crate) struct Speaker {
    pub(crate) vip: Vip,
    pub(crate) events: Receiver<Event>,
    pub(crate) service: Arc<Fake>,
}

/// A service that lives until it is told to be dead.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) dead: AtomicBool,
}

impl Segment {
    pub(crate) fn new(count: usize) -> Self {
        let macs: Vec<String> = (1..=count).map(|n| format!("02:00:00:00:00:{n:02x}")).collect();
        Self::with_macs(&macs.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A host per Ethernet address.
    pub(crate) fn with_macs(macs: &[&str]) -> Self {
        let namespace = || Namespace::new().expect("needs root for network namespaces");
        let bridge = namespace();
        bridge
            .run(|| {
                create_bridge("bridge").unwrap();
                set_up("bridge").unwrap();
            })
            .unwrap();
        let mut segment = Self { bridge, hosts: vec![] };
        for mac in macs {
            segment.hosts.push(Host { namespace: namespace(), mac: mac.parse().unwrap() });
            segment.connect(segment.hosts.len(), mac);
        }
        segment
    }

    /// Plugs the host in: a new eth0.
    pub(crate) fn connect(&self, host: usize, mac: &str) {
        let port = format!("port{host}");
        let namespace = self.host(host);
        namespace.run(disable_duplicate_address_detection).unwrap().unwrap();
        self.bridge
            .run(|| {
                create_veth(&port, "eth0", namespace).unwrap();
                set_master(&port, "bridge").unwrap();
                set_up(&port).unwrap();
            })
            .unwrap();
        self.output(host, &["ip", "link", "set", "eth0", "address", mac]);
        namespace
            .run(|| {
                for address in [format!("10.5.0.{host}/24"), format!("fd05::{host:x}/64")] {
                    add_address("eth0", &address.parse().unwrap()).unwrap();
                }
                set_up("eth0").unwrap();
            })
            .unwrap();
    }

    pub(crate) fn host(&self, number: usize) -> &Namespace {
        &self.hosts[number - 1].namespace
    }

    pub(crate) const fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn speaker(&self, host: usize, cluster: &Cluster, priority: u8) -> Speaker {
        self.speaker_of(host, "eth0", std::slice::from_ref(cluster), priority)
    }

    /// One that has a router for each of them, all of one name.
    pub(crate) fn speaker_of(
        &self,
        host: usize,
        interface: &str,
        clusters: &[Cluster],
        priority: u8,
    ) -> Speaker {
        let service = Arc::new(Fake::default());
        let (sender, events) = mpsc::channel();
        let start = || {
            let mut socket = Socket::open(Protocol::Route).unwrap();
            let link = link::find(&mut socket, &Selector::Name(interface.into())).unwrap();
            let instance = |cluster: &Cluster| Instance {
                name: "test".into(),
                link: link.clone(),
                router: self.router(host, cluster, priority),
                addresses: vec![cluster.virtual_address()],
            };
            let settings = Settings {
                instances: clusters.iter().map(instance).collect(),
                lifetime: Settings::DEFAULT_LIFETIME,
                realtime: true,
            };
            let service = Arc::clone(&service);
            Vip::start(settings, service, Arc::new(move |event| drop(sender.send(event)))).unwrap()
        };
        let vip = self.host(host).run(start).unwrap();
        Speaker { vip, events, service }
    }

    fn router(&self, host: usize, cluster: &Cluster, priority: u8) -> vrrp::Settings {
        vrrp::Settings {
            virtual_router_id: 51,
            version: cluster.version,
            priority,
            interval: cluster.interval,
            preempt: true,
            preempt_delay: Duration::ZERO,
            startup_delay: Duration::ZERO,
            authentication: cluster
                .password
                .map_or(vrrp::Authentication::None, vrrp::Authentication::password),
            checksum: ChecksumChoice::default(),
            source: self.source(host, cluster),
            unicast_peers: self.peers(host, cluster),
            addresses: vec![cluster.virtual_address().address],
        }
    }

    /// Where the host's advertisements come from: to IPv6's group from its link-local address
    /// (RFC 9568 section 5.1.2.1), which is that of its Ethernet address (RFC 4291 appendix A).
    pub(crate) fn source(&self, host: usize, cluster: &Cluster) -> IpAddr {
        let source = match (cluster.is_ipv4(), cluster.unicast.is_empty()) {
            (true, _) => format!("10.5.0.{host}"),
            (false, false) => format!("fd05::{host:x}"),
            (false, true) => {
                let [a, b, c, d, e, f] = self.hosts[host - 1].mac.0;
                format!("fe80::{:02x}{b:02x}:{c:02x}ff:fe{d:02x}:{e:02x}{f:02x}", a ^ 2)
            }
        };
        source.parse().unwrap()
    }

    pub(crate) fn peers(&self, host: usize, cluster: &Cluster) -> Vec<IpAddr> {
        let peers = cluster.unicast.iter().filter(|peer| **peer != host);
        peers.map(|peer| self.source(*peer, cluster)).collect()
    }

    pub(crate) fn spawn(&self, host: usize, command: &[&str]) -> Child {
        spawn(self.host(host), command)
    }

    pub(crate) fn output(&self, host: usize, command: &[&str]) -> String {
        let output = self.spawn(host, command).wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether the host has the cluster's virtual address on its interface.
    pub(crate) fn holds(&self, host: usize, cluster: &Cluster) -> bool {
        let held = self.output(host, &["ip", "-oneline", "address", "show", "dev", "eth0"]);
        held.contains(&format!(" {} ", cluster.address))
    }

    /// Nothing reaches the host any more, and it cannot tell by its carrier.
    pub(crate) fn cut(&self, host: usize) {
        self.bridge_port(host, &["nomaster"]);
    }

    pub(crate) fn heal(&self, host: usize) {
        self.bridge_port(host, &["master", "bridge"]);
    }

    fn bridge_port(&self, host: usize, change: &[&str]) {
        let port = format!("port{host}");
        let command = [&["ip", "link", "set", &port], change].concat();
        assert!(spawn(&self.bridge, &command).wait().unwrap().success(), "{command:?}");
    }
}

fn spawn(namespace: &Namespace, command: &[&str]) -> Child {
    let mut spawned = Command::new(command[0]);
    spawned.args(&command[1..]).stdout(Stdio::piped()).stderr(Stdio::null());
    namespace.spawn(spawned).unwrap()
}

impl Cluster {
    pub(crate) fn v2() -> Self {
        Self {
            version: Version::V2,
            password: Some("secret12"),
            interval: Duration::from_secs(1),
            address: "10.5.0.100/24",
            unicast: vec![],
        }
    }

    pub(crate) fn v3_ipv4() -> Self {
        Self { version: Version::V3, password: None, ..Self::v2() }
    }

    pub(crate) fn v3_ipv6() -> Self {
        Self { address: "fd05::100/64", ..Self::v3_ipv4() }
    }

    pub(crate) fn virtual_address(&self) -> VirtualAddress {
        self.address.parse().unwrap()
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.virtual_address().address.is_ipv4()
    }
}

impl Speaker {
    pub(crate) fn state(&self) -> State {
        self.vip.status().instances[0].state
    }

    /// What it told that an operator would worry about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let worrying = |event: &Event| {
            matches!(
                event,
                Event::Dropped { .. } | Event::AddressesDiffer { .. } | Event::Trouble { .. }
            )
        };
        self.events.try_iter().filter(worrying).map(|event| format!("{event:?}")).collect()
    }
}

impl Service for Fake {
    fn alive(&self) -> bool {
        !self.dead.load(Relaxed)
    }

    fn released(&self, _: &[IpAddr]) {}
}

/// How long the condition took to come true; it must within `limit`.
pub(crate) fn wait_for(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "in vain for {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}
