//! A kernel without IPVS.

use std::fs;
use std::process::Command;

use lab::world::State;

use crate::common::{LONG, controller, text, try_on, world};
use crate::nodes::{addresses, document, plan_of};

/// sysexits.h.
const EX_UNAVAILABLE: i32 = 69;

/// Both engines say so, and what to do; nothing is changed. To be run before others load IPVS.
#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn without_ipvs_nothing_is_begun() {
    assert!(!fs::exists("/sys/module/ip_vs").unwrap(), "IPVS is loaded already");
    let hidden = Hidden::new("ip_vs");
    let mut world = world(plan_of(document(true)));
    for engine in ["builtin", "keepalived"] {
        let launch = controller(&world, 0, &["--apiserver", "10.0.0.11:6443", "--vrrp", engine]);
        let daemon = &mut world.node_mut(0).controller;
        daemon.replace(launch);
        daemon.start().unwrap();
        assert!(daemon.wait(LONG), "{engine} does not end");
        let log = daemon.log_tail(1);
        println!("{log}");
        let told = "this kernel has no IPVS: run `modprobe ip_vs`";
        assert_eq!(log.matches(told).count(), 1, "{log}");
        assert_eq!(daemon.state(), State::Ended { code: Some(EX_UNAVAILABLE) });
        let host = world.node(0).host();
        assert_eq!(addresses(host, "dummyvip0"), Vec::<String>::new());
        let announces = || fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_announce").unwrap();
        assert_eq!(host.namespace.run(announces).unwrap(), "0\n");
        let rules = text(&try_on(host, "iptables-legacy-save -t nat").stdout);
        assert!(!rules.contains("CPLB"), "{rules}");
    }
    drop(hidden);
}

/// A module is hidden from modprobe until this is dropped.
pub(crate) struct Hidden(String);

impl Hidden {
    pub(crate) fn new(module: &str) -> Self {
        let shown = Command::new("modinfo").args(["-n", module]).output().unwrap();
        let file = text(&shown.stdout).trim().to_owned();
        let bind = ["--bind", "/dev/null", &file];
        assert!(Command::new("mount").args(bind).status().unwrap().success());
        Self(file)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|it| it.success()), "the module stays hidden");
    }
}
