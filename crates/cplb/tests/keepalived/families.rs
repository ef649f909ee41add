//! IPv6, and both families on one node.

use kernel::address::VirtualAddress;
use lab::world::{Plan, VrrpEngine};

use crate::common::{CPLB, Cluster, DOCUMENT, LONG, certificates, on};
use crate::states;

/// The virtual IPs of a document, one of each family or of one.
fn virtual_ips(addresses: &[&str]) -> Plan {
    let document = DOCUMENT.replace(
        r#"["10.0.0.100/24"]"#,
        &format!(
            "[{}]",
            addresses.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ")
        ),
    );
    let virtual_ips: Vec<VirtualAddress> = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let mut plan = Plan::new(CPLB.as_ref(), &document, &virtual_ips, 3).unwrap();
    plan.vrrp = VrrpEngine::Keepalived;
    plan
}

/// Who holds which address, once everything that runs is well.
fn holders(cluster: &Cluster, address: &str) -> Vec<usize> {
    cluster.world.holders(address.parse().unwrap()).unwrap()
}

fn moves_together(addresses: &[&str]) {
    let bare: Vec<&str> = addresses.iter().map(|it| it.split('/').next().unwrap()).collect();
    let mut cluster = Cluster::build(virtual_ips(addresses));
    cluster.world.start_all().unwrap();
    let together = |cluster: &Cluster| {
        let first = holders(cluster, bare[0]);
        let all_ready = (0..3).all(|node| {
            let state = cluster.world.node(node).run_dir.join("admin.sock");
            !state.exists() || cluster.status_of(node).is_none_or(|it| it["ready"] == true)
        });
        first.len() == 1 && bare.iter().all(|it| holders(cluster, it) == first) && all_ready
    };
    cluster.eventually("one node holds all and all are ready", together);
    let holder = holders(&cluster, bare[0])[0];
    assert!(states(&cluster.status_of(holder).unwrap()).iter().all(|state| state == "Active"));
    for address in &bare {
        let target = match address.contains(':') {
            true => format!("[{address}]:6443"),
            false => format!("{address}:6443"),
        };
        let shown = certificates(cluster.world.client(), &target, 9);
        assert_eq!(shown.len(), 3, "{target}: {shown:?}");
    }
    cluster.world.node_mut(holder).controller.stop().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    cluster.eventually("another node holds all", |cluster| {
        together(cluster) && holders(cluster, bare[0]) != [holder]
    });
    let left = on(cluster.world.node(holder).host(), "ip -o address");
    assert!(bare.iter().all(|it| !left.contains(&format!(" {it}/"))), "{left}");
}

#[test]
fn an_ipv6_address_moves() {
    moves_together(&["fd00:10::100/64"]);
}

#[test]
fn addresses_of_both_families_move_together() {
    moves_together(&["10.0.0.100/24", "fd00:10::100/64"]);
}
