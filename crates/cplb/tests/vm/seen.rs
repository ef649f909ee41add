//! What the kernel balances, as the status shows it.

use std::collections::BTreeMap;

use lab::world::VrrpEngine;
use serde_json::{Value, json};

use crate::common::{Cluster, LONG};
use crate::nodes::{build, certificates_for_all, document, eventually, plan_of, settle, status};

#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn cplbs_services_are_seen() {
    are_seen(VrrpEngine::Builtin);
}

#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn keepaliveds_services_are_seen() {
    are_seen(VrrpEngine::Keepalived);
}

/// Everything on the holder; on the others that they are none; and why a server is left out.
fn are_seen(vrrp: VrrpEngine) {
    let mut plan = plan_of(document(true));
    plan.vrrp = vrrp;
    let mut cluster = build(plan);
    cluster.world.start_all().unwrap();
    settle(&cluster);
    let all = [json!([1, null]), json!([1, null]), json!([1, null])];
    eventually(&cluster, "the holder shows three real servers", |cluster| {
        rows(cluster, cluster.holder()) == all
    });
    let holder = cluster.holder();
    let (apiserver, node) = ((holder + 1) % 3, (holder + 2) % 3);
    let service = service(&cluster, holder);
    assert_eq!(
        json!([
            service["address"],
            service["scheduler"],
            service["forwarding"],
            service["persistence_seconds"],
            service["here"],
        ]),
        json!(["10.0.0.100:6443", "rr", "DR", 360, true])
    );
    assert!(service["real_servers"][0]["active"].is_u64(), "{service}");
    for other in [apiserver, node] {
        eventually(&cluster, "the others are no holders", |cluster| {
            rows(cluster, other) == [json!([null, null]), json!([null, null]), json!([null, null])]
        });
        assert_eq!(self::service(&cluster, other)["here"], false);
    }

    certificates_for_all(&cluster);
    let connections = |cluster: &Cluster| -> u64 {
        let service = self::service(cluster, holder);
        let servers = service["real_servers"].as_array().unwrap();
        let count = |it: &Value| it["active"].as_u64().unwrap() + it["inactive"].as_u64().unwrap();
        servers.iter().map(count).sum()
    };
    eventually(&cluster, "the client's connections are counted", |cluster| {
        connections(cluster) >= 3
    });

    cluster.world.node_mut(apiserver).apiserver.kill().unwrap();
    eventually(&cluster, "the killed apiserver is left out", |cluster| {
        let row = &rows(cluster, holder)[apiserver];
        row[1] == "unhealthy" && row[0] != 1
    });
    let controller = &mut cluster.world.node_mut(node).controller;
    controller.stop().unwrap();
    assert!(controller.wait(LONG));
    eventually(&cluster, "so is the node without cplb, for another reason", |cluster| {
        let row = &rows(cluster, holder)[node];
        row[1] == "absent" && row[0] != 1
    });
    assert_eq!(rows(&cluster, holder)[holder], json!([1, null]));
}

fn service(cluster: &Cluster, node: usize) -> Value {
    let status = status(&cluster.world.node(node).run_dir).unwrap();
    status["load_balancer"]["virtual_servers"][0].clone()
}

/// Weight and reason of each node's apiserver.
fn rows(cluster: &Cluster, node: usize) -> Vec<Value> {
    let service = service(cluster, node);
    let rows: BTreeMap<String, Value> = service["real_servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["address"].to_string(), json!([it["weight"], it["left_out"]])))
        .collect();
    rows.into_values().collect()
}
