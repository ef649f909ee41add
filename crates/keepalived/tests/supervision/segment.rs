//! Hosts on a bridge, numbered from 1: host n has 10.5.0.n and fd05::n on its eth0.

use std::process::{Command, Stdio};

use kernel::netns::{
    Namespace, add_address, create_bridge, create_veth, disable_duplicate_address_detection,
    set_master, set_up,
};

use crate::{SECOND, wait_for};

pub(crate) struct Segment {
    _bridge: Namespace,
    hosts: Vec<Namespace>,
}

impl Segment {
    pub(crate) fn new(count: usize) -> Self {
        let namespace = || Namespace::new().expect("needs root for network namespaces");
        let bridge = namespace();
        let up = || {
            create_bridge("bridge").unwrap();
            set_up("bridge").unwrap();
        };
        bridge.run(up).unwrap();
        let hosts: Vec<Namespace> = (0..count).map(|_| namespace()).collect();
        for (index, host) in hosts.iter().enumerate() {
            host.run(disable_duplicate_address_detection).unwrap().unwrap();
            let port = format!("port{index}");
            let plug = || {
                create_veth(&port, "eth0", host).unwrap();
                set_master(&port, "bridge").unwrap();
                set_up(&port).unwrap();
            };
            bridge.run(plug).unwrap();
            let number = index + 1;
            let configure = || {
                for address in [format!("10.5.0.{number}/24"), format!("fd05::{number}/64")] {
                    add_address("eth0", &address.parse().unwrap()).unwrap();
                }
                set_up("eth0").unwrap();
            };
            host.run(configure).unwrap();
        }
        let segment = Self { _bridge: bridge, hosts };
        for host in 1..=count {
            // keepalived speaks IPv6 from it, and begins in a fault without.
            wait_for("a link-local address", 5 * SECOND, || {
                segment.addresses(host).contains("fe80::")
            });
        }
        segment
    }

    pub(crate) fn host(&self, number: usize) -> &Namespace {
        &self.hosts[number - 1]
    }

    pub(crate) fn holds(&self, host: usize, address: &str) -> bool {
        self.addresses(host).contains(&format!(" {address} "))
    }

    fn addresses(&self, host: usize) -> String {
        self.output(host, &["ip", "-oneline", "address", "show", "dev", "eth0", "up"])
    }

    pub(crate) fn output(&self, host: usize, command: &[&str]) -> String {
        let mut spawned = Command::new(command[0]);
        spawned.args(&command[1..]).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.host(host).spawn(spawned).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}
