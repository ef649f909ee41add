//! A control plane node.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipvs::{Forwarding, Handle, Scheduler, Settings, VirtualServer};
use kernel::address::{Addresses, VirtualAddress};
use kernel::netns::Namespace;
use rustix::net::Shutdown;
use tempfile::TempDir;

use crate::world::{PORT, eth0, run, serve, vip, wait_for};

pub(crate) struct Node {
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    number: u8,
    folder: TempDir,
    /// The kernel's list of services, and what ipvsadm(8) has last made of it.
    listed: Mutex<Option<(String, Vec<String>)>>,
    _apiserver: Apiserver,
}

/// Ends with this.
struct Apiserver {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(crate) fn new(namespace: Namespace, number: u8) -> Self {
        let name = format!("node{number}");
        let apiserver = Apiserver::start(&namespace, &name, PORT);
        Self {
            namespace,
            name,
            number,
            folder: tempfile::tempdir().unwrap(),
            listed: Mutex::new(None),
            _apiserver: apiserver,
        }
    }

    /// Its apiserver, by IPv4 and by IPv6.
    pub(crate) fn real_servers(&self) -> Vec<SocketAddr> {
        let last = u16::from_str_radix(&self.number.to_string(), 16).unwrap();
        let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
        vec![([10, 0, 0, self.number], PORT).into(), (v6, PORT).into()]
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.folder.path().join("run/ipvs.json")
    }

    pub(crate) fn settings(&self, virtual_servers: Vec<VirtualServer>) -> Settings {
        settings(virtual_servers, self.state_file())
    }

    /// The IPVS of this node, which knows all `real_servers`.
    pub(crate) fn start(&self, servers: Vec<VirtualServer>, real_servers: &[SocketAddr]) -> Handle {
        let start = || Handle::start(self.settings(servers)).unwrap();
        let handle = self.namespace.run(start).unwrap();
        handle.set_usable(real_servers.to_vec());
        handle
    }

    /// The address comes to this node by VRRP.
    pub(crate) fn take(&self, handle: &Handle, address: &str) {
        let virtual_address: VirtualAddress = with_prefix(address).parse().unwrap();
        hold(handle, &[virtual_address.address]);
        self.add(address);
    }

    /// The address goes away from this node.
    pub(crate) fn give_up(&self, handle: &Handle, address: &str) {
        let address: VirtualAddress = with_prefix(address).parse().unwrap();
        handle.release(&[address.address]);
        let remove = || Addresses::open().unwrap().release(eth0().index, &address).unwrap();
        assert!(self.namespace.run(remove).unwrap());
    }

    pub(crate) fn add(&self, address: &str) {
        let address: VirtualAddress = with_prefix(address).parse().unwrap();
        let add = || {
            let lifetime = Duration::from_secs(600);
            Addresses::open().unwrap().hold(eth0().index, &address, lifetime).unwrap();
        };
        self.namespace.run(add).unwrap();
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.namespace.run(|| run(program, arguments)).unwrap()
    }

    /// The services by the word of ipvsadm(8), a line each, without the numbers of connections. It
    /// is asked anew when the kernel's own list is another, since it takes its time to start here.
    pub(crate) fn ipvsadm(&self) -> Vec<String> {
        let read = || fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default();
        let list = || self.namespace.run(read).unwrap();
        let mut listed = self.listed.lock().unwrap();
        let before = list();
        if let Some((then, services)) = &*listed
            && *then == before
        {
            return services.clone();
        }
        let services = self.ask_ipvsadm();
        // What has changed meanwhile may be of either state.
        *listed = (list() == before).then(|| (before, services.clone()));
        services
    }

    fn ask_ipvsadm(&self) -> Vec<String> {
        let listing = self.run("ipvsadm", &["-Ln"]);
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let words = if words[0] == "->" { &words[..words.len() - 2] } else { &words };
            words.join(" ")
        };
        listing.lines().skip(3).map(line).collect()
    }

    pub(crate) fn parameter(&self, name: &str) -> String {
        let path = format!("/proc/sys/{name}");
        self.namespace.run(|| fs::read_to_string(path).unwrap().trim().to_owned()).unwrap()
    }

    pub(crate) fn set_parameter(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{name}");
        self.namespace.run(|| fs::write(path, value).unwrap()).unwrap();
    }
}

impl Apiserver {
    fn start(namespace: &Namespace, name: &str, port: u16) -> Self {
        let listener = namespace.run(|| TcpListener::bind(("::", port)).unwrap()).unwrap();
        let (accepting, name) = (listener.try_clone().unwrap(), name.to_owned());
        let thread = thread::spawn(move || {
            while let Ok((mut stream, _)) = accepting.accept() {
                let name = name.clone();
                // The client's end of the connection ends it.
                thread::spawn(move || drop(serve(&mut stream, &name)));
            }
        });
        Self { listener, thread: Some(thread) }
    }
}

impl Drop for Apiserver {
    fn drop(&mut self) {
        rustix::net::shutdown(&self.listener, Shutdown::Both).unwrap();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits longer than a keeper of addresses would: other tests may have the machine.
pub(crate) fn hold(handle: &Handle, addresses: &[IpAddr]) {
    wait_for("the services", || handle.hold(addresses).then_some(()));
}

pub(crate) fn settings(virtual_servers: Vec<VirtualServer>, state_file: PathBuf) -> Settings {
    let drain = Duration::from_secs(3);
    Settings { virtual_servers, services: true, interfaces: vec!["eth0".into()], drain, state_file }
}

/// Round robin by direct routing, without persistence.
pub(crate) fn round_robin(address: SocketAddr) -> VirtualServer {
    VirtualServer {
        address,
        scheduler: Scheduler::RoundRobin,
        forwarding: Forwarding::DirectRouting,
        persistence: None,
    }
}

pub(crate) fn source_hashing() -> VirtualServer {
    VirtualServer { scheduler: Scheduler::SourceHashing, ..round_robin(vip()) }
}

fn with_prefix(address: &str) -> String {
    let address: IpAddr = address.parse().unwrap();
    format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 })
}
