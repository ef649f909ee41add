use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::doctor::testing::{V2, V3, bytes, speaker};

fn daemon() -> Daemon {
    let status = json!({
        "pid": 7, "ready": true, "leaving": false, "realtime": true, "load_balancer": null,
        "virtual_routers": [{
            "name": "cplb-vip-0", "interface": "eth0", "virtual_router_id": 51, "version": 2,
            "source": "10.5.0.9", "virtual_ips": ["10.5.0.100/24"], "state": "Backup",
            "holder": "10.5.0.1", "packets_dropped": {}, "address_mismatches": 0
        }]
    });
    Daemon { status: serde_json::from_value(status).unwrap() }
}

fn scan(speakers: Vec<Speaker>, daemon: Option<&Daemon>) -> Scan {
    let heard = Heard { speakers, deaf: vec![] };
    Scan::new(&[], Duration::from_secs(5), heard, daemon)
}

#[test]
fn free_identifiers_are_neither_heard_nor_popular() {
    assert_eq!(suggestions(&BTreeSet::from([53]), 49), [49, 54, 55, 56, 57]);
    assert_eq!(suggestions(&BTreeSet::new(), 254), [254, 2, 3, 4, 5]);
    assert!(suggestions(&(0..=255).collect(), 0).is_empty());
}

#[test]
fn programs_read_everything_but_the_password() {
    let scan = scan(vec![speaker("10.5.0.1", V2, 3)], None);
    let shown = serde_json::to_value(&scan.speakers[0]).unwrap();
    assert_eq!(
        shown,
        json!({
            "interface": "eth0",
            "virtual_router_id": 51,
            "source": "10.5.0.1",
            "destination": "224.0.0.18",
            "packets": 3,
            "interval_measured_ms": 1000,
            "ours": null,
            "advertisement": {
                "version": 2,
                "priority": 100,
                "interval_announced_ms": 1000,
                "authentication": "password",
                "addresses": ["10.5.0.100"],
                "checksum": null
            },
            "fault": null
        })
    );
    assert!(!format!("{scan}").contains("secret12"));
}

#[test]
fn people_read_a_line_a_speaker() {
    let scan = scan(vec![speaker("10.5.0.1", V3, 3)], None);
    let text = scan.to_string();
    let line = text.lines().find(|line| line.contains("10.5.0.1 ")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "51",
            "eth0",
            "10.5.0.1",
            "3",
            "100",
            "1.00",
            "s",
            "1.00",
            "s",
            "none",
            "?",
            "10.5.0.100",
            "(checksum:",
            "pseudo-header)"
        ]
    );
}

#[test]
fn what_cannot_be_read_is_shown_with_the_reason() {
    let mut message = bytes(V2);
    message[2] = 99;
    let message: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = scan(vec![speaker("10.5.0.1", &message, 1)], None).to_string();
    assert!(text.contains("wrong checksum: damaged on the way"), "{text}");
}

#[test]
fn the_daemons_own_virtual_routers_are_ours() {
    let mut other_router = bytes(V3);
    other_router[1] = 52;
    // The checksum of the identifier's change: 0x3133 + 1 is 0x3134, so 0x7569 - 1.
    other_router[6..8].copy_from_slice(&[0x75, 0x68]);
    let other_router: String = other_router.iter().map(|byte| format!("{byte:02x}")).collect();
    let speakers = vec![speaker("10.5.0.1", V2, 3), speaker("10.5.0.1", &other_router, 3)];
    let scan = scan(speakers, Some(&daemon()));
    assert_eq!(scan.speakers[0].ours, Some(true));
    assert_eq!(scan.speakers[1].advertisement.as_ref().unwrap().version, 3);
    assert_eq!(scan.speakers[1].ours, Some(false));
}
