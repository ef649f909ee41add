//! What the status tells, and what k0s' own checks ask for.

use std::fs;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::common::{LONG, VIP, certificates, on, text, try_on};
use crate::{DOWN, SECOND, keepalived, pid, start, states, watchdog};

#[test]
fn the_status_is_that_of_any_engine_and_names_keepalived() {
    let mut cluster = start(keepalived());
    let holder = cluster.holder();
    let status = cluster.status_of(holder).unwrap();
    let router = &status["virtual_routers"][0];
    assert_eq!(status["virtual_routers"].as_array().unwrap().len(), 1);
    assert_eq!(
        json!([
            router["name"],
            router["interface"],
            router["virtual_router_id"],
            router["version"],
            router["source"],
            router["virtual_ips"],
            router["state"],
            router["priority"],
            router["configured_priority"],
        ]),
        json!([
            "cplb-vip-0",
            "eth0",
            51,
            2,
            cluster.address(holder).to_string(),
            ["10.0.0.100/24"],
            "Active",
            200,
            200
        ])
    );
    let version = std::process::Command::new("keepalived").arg("--version").output().unwrap();
    let of_program = text(&version.stderr);
    let keepalived = &status["keepalived"];
    let version = format!("Keepalived v{} ", keepalived["version"].as_str().unwrap());
    assert!(of_program.starts_with(&version), "{of_program}");
    let process = pid(&cluster, holder, "keepalived.pid").as_raw_nonzero().get();
    assert_eq!((&keepalived["pid"], &keepalived["restarts"]), (&json!(process), &json!(0)));
    let shown = cluster.status_text_of(holder);
    assert!(shown.contains("10.0.0.100/24 is HERE since"), "{shown}");
    assert!(shown.contains("VRRP by keepalived 2."), "{shown}");
    for node in (0..3).filter(|node| *node != holder) {
        assert_eq!(states(&cluster.status_of(node).unwrap()), ["Backup"]);
    }

    // k0s' checks: no dummy link, the address once with its prefix length, all three apiservers.
    for node in 0..3 {
        let host = cluster.world.node(node).host();
        assert!(!try_on(host, "ip link show dev dummyvip0").status.success());
        let addresses = on(host, "ip -o address show dev eth0 scope global");
        assert_eq!(addresses.contains(&format!(" {VIP}/24 ")), node == holder, "{addresses}");
    }
    let shown = certificates(cluster.world.client(), &format!("{VIP}:6443"), 15);
    assert_eq!(shown.len(), 3, "{shown:?}");

    // Killed, it comes back; whoever holds then holds alone.
    let begin = cluster.now();
    kill_process(pid(&cluster, holder, "keepalived.pid"), Signal::KILL).unwrap();
    cluster.tell("the holder's keepalived killed");
    cluster.eventually("keepalived is started again", |cluster| {
        let status = cluster.status_of(holder).unwrap();
        status["keepalived"]["restarts"] == 1 && !status["keepalived"]["pid"].is_null()
    });
    cluster.pass(2 * DOWN);
    cluster.holder();
    // Two equal heirs may tie until they hear each other; the old holder is none of them.
    let released = cluster.holdings().released_after(holder, begin).unwrap();
    assert!(released <= SECOND, "{released:?}");
    assert_eq!(cluster.doubly_held_since(begin + DOWN + SECOND), Duration::ZERO);
    cluster.world.node_mut(holder).controller.stop().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    assert_eq!(watchdog(&cluster, holder), None);
    let left = fs::read_dir(&cluster.world.node(holder).run_dir).unwrap();
    let left: Vec<String> =
        left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.contains("keepalived")), "{left:?}");
}
