//! What documents can ask for.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Cluster, DOCUMENT, on};
use crate::{SECOND, keepalived, start_alone, watchdog};

/// The three ways of k0s' own tests.
#[test]
fn however_the_interface_is_named_keepalived_gets_its_name() {
    for way in ["default route", "name", "hardware address"] {
        let mut plan = keepalived();
        plan.nodes.truncate(1);
        let mut cluster = Cluster::build(plan);
        let link = on(cluster.world.node(0).host(), "ip -o link show dev eth0");
        let mac = link.split_once("link/ether ").unwrap().1.split(' ').next().unwrap();
        let interface = match way {
            "default route" => "",
            "name" => "eth0",
            _ => mac,
        };
        let document = DOCUMENT.replace(
            "        - virtualIPs",
            &format!("        - interface: \"{interface}\"\n          virtualIPs"),
        );
        fs::write(cluster.world.directory().join("config.yaml"), document).unwrap();
        cluster.world.start_all().unwrap();
        cluster.settle();
        let path = cluster.world.node(0).run_dir.join("keepalived.conf");
        let configuration = fs::read_to_string(&path).unwrap();
        assert!(configuration.contains("\n    interface eth0\n"), "{configuration}");
        assert!(!configuration.contains(mac), "{configuration}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}

#[test]
fn without_a_load_balancer_it_moves_addresses_alone() {
    let document = DOCUMENT.replace(
        "        vrrpInstances:",
        "        disableLoadBalancer: true\n        vrrpInstances:",
    );
    let cluster = start_alone(&document);
    assert_eq!(cluster.holders(), [0]);
    assert_eq!(cluster.tables(0), "");
    let status = cluster.status_of(0).unwrap();
    assert!(status["load_balancer"].is_null(), "{status}");
    assert!(watchdog(&cluster, 0).is_some());
    cluster.pass(2 * SECOND);
    assert_eq!(cluster.status_of(0).unwrap()["virtual_routers"][0]["priority"], 200);
}
