use super::*;

/// What is written today must be readable in later versions: a router that was not ready, and had
/// heard a lower one after 500 ms and a refused one after 600 ms.
const LEFT: &str = r#"{
    "settings": {
        "virtual_router_id": 51, "version": "V3", "priority": 200,
        "interval": {"secs": 1, "nanos": 0}, "preempt": true,
        "preempt_delay": {"secs": 0, "nanos": 0}, "startup_delay": {"secs": 0, "nanos": 0},
        "authentication": "None", "checksum": "Auto", "source": "10.0.0.12",
        "unicast_peers": [], "addresses": ["10.0.0.100"]
    },
    "state": "Backup", "since": {"secs": 0, "nanos": 0}, "ready": false, "tracking": 0,
    "leaving": false, "link_up": true, "lead": null, "heard_anyone": true,
    "begins": {"secs": 0, "nanos": 0},
    "active": {
        "address": "10.0.0.13", "priority": 150, "interval": {"secs": 1, "nanos": 0},
        "heard": {"secs": 0, "nanos": 500000000}
    },
    "preempts": {"secs": 0, "nanos": 500000000}, "rival": null, "demoted": false,
    "learned": "PseudoHeader",
    "timers": {
        "start": null, "down": {"secs": 3, "nanos": 0}, "advertise": null, "give_up": null
    },
    "peers": {
        "unicast": [], "told": ["10.0.0.1"],
        "heard": {"10.0.0.13": {"priority": 150, "heard": {"secs": 0, "nanos": 500000000}}}
    },
    "last_refused": {"secs": 0, "nanos": 600000000}
}"#;

/// The router that left it.
fn predecessor() -> VirtualRouter {
    let settings =
        Settings { version: Version::V3, authentication: Authentication::None, ..settings() };
    let of_version_3 = |priority| Advertisement {
        version: Version::V3,
        authentication: Authentication::None,
        ..advertisement(priority)
    };
    let mut router = first_of_its_equals(settings);
    router.start(at(0));
    hear(&mut router, at(500), PEER, of_version_3(150)).unwrap();
    hear(&mut router, at(600), LOWER_PEER, advertisement(200)).unwrap_err();
    router.set_ready(at(700), false);
    actions(&mut router);
    router
}

#[test]
fn what_is_left_is_read_by_every_version() {
    let left: serde_json::Value = serde_json::from_str(LEFT).unwrap();
    assert_eq!(serde_json::to_value(predecessor().estate()).unwrap(), left);
    let router = VirtualRouter::resume(serde_json::from_value(left).unwrap());
    assert_eq!(router.outlook(at(800)), predecessor().outlook(at(800)));
}

#[test]
fn what_is_only_told_or_counted_stays_behind() {
    let predecessor = predecessor();
    assert_eq!((predecessor.counters().received, predecessor.foreign().count()), (1, 1));
    let router = VirtualRouter::resume(predecessor.estate());
    assert_eq!((router.counters(), router.foreign().count()), (&Counters::default(), 0));
}

#[test]
fn the_lateness_beside_a_foreign_router_goes_on() {
    let mut router = VirtualRouter::resume(predecessor().estate());
    router.handle_timeout(at(4_000));
    assert_eq!(router.state(), State::Active);
    // 1 s, and 4 % of it.
    assert_eq!(router.next_deadline(), Some(at(5_040)));
}
