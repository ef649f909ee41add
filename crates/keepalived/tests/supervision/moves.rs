//! Who holds the address follows readiness, and a planned end is not noticed.

use std::time::Instant;

use vrrp::State;

use crate::client::Client;
use crate::node::{Node, settings};
use crate::segment::Segment;
use crate::{SECOND, TAKE_OVER, wait_for};

#[test]
fn an_unready_node_yields_to_a_ready_one_and_nothing_moves_when_none_is() {
    yields(&settings(1));
}

/// As those of k0s are.
const TEMPLATE_WITHOUT_READINESS: &str = "{{ range $i, $it := .VRRPInstances }}
vrrp_instance mine-{{ $i }} {
    state BACKUP
    interface {{ .Interface }}
    virtual_router_id {{ $it.VirtualRouterID }}
    priority 200
    advert_int {{ $it.AdvertIntervalSeconds }}
    authentication {
        auth_type PASS
        auth_pass {{ $it.AuthPass }}
    }
    virtual_ipaddress {
        {{ range $it.VirtualIPs }}
        {{ . }}
        {{ end }}
    }
}
{{ end }}";

#[test]
fn with_a_template_that_knows_nothing_of_readiness_it_yields_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("mine.conf");
    std::fs::write(&template, TEMPLATE_WITHOUT_READINESS).unwrap();
    yields(&keepalived::Settings { vrrp_template: Some(template), ..settings(1) });
}

/// Between these words, the priority of an heir: it has a rank, and is ready.
fn is_heir(reason: &str, before: &str, after: &str) -> bool {
    let priority = reason.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    priority.is_some_and(|it| (170..200).contains(&it.parse().unwrap()))
}

fn yields(of_first: &keepalived::Settings) {
    let segment = Segment::new(2);
    let first = Node::start(&segment, 1, of_first);
    first.wait_for(State::Active, TAKE_OVER);
    let second = Node::start(&segment, 2, &settings(2));
    second.wait_for(State::Backup, SECOND);

    first.keepalived.set_ready(false);
    second.wait_for(State::Active, TAKE_OVER);
    first.wait_for(State::Backup, SECOND);
    let status = first.keepalived.status();
    assert_eq!((status.instances[0].priority, status.instances[0].ready), ((100, 200), false));
    let last = &status.instances[0].transitions.last().unwrap().transition;
    assert!(
        is_heir(&last.reason, "10.5.0.2 took over with priority ", ", ours is 100"),
        "{last:?}"
    );

    second.keepalived.set_ready(false);
    std::thread::sleep(5 * SECOND);
    second.assert_all(State::Active);
    first.assert_all(State::Backup);
}

#[test]
fn a_planned_end_hands_over_before_it_lets_go() {
    let segment = Segment::new(3);
    let first = Node::start(&segment, 1, &settings(1));
    first.wait_for(State::Active, TAKE_OVER);
    let second = Node::start(&segment, 2, &settings(2));
    second.wait_for(State::Backup, SECOND);
    let client = Client::start(&segment, 3, "10.5.0.100");
    std::thread::sleep(SECOND / 2);

    let mark = Instant::now();
    first.keepalived.hand_over(10 * SECOND);
    first.wait_for_event("ended: Ok(())", 10 * SECOND);
    second.assert_all(State::Active);
    let status = first.keepalived.status();
    let reason = &status.instances[0].transitions;
    assert!(
        reason.iter().any(|past| is_heir(
            &past.transition.reason,
            "handed over: 10.5.0.2 took over with priority ",
            ", ours is 1"
        )),
        "{reason:?}"
    );
    let silence = client.silence(mark);
    println!("planned end, 1 s: {:.1} ms of silence", silence.as_secs_f64() * 1_000.0);
    assert!(silence <= SECOND / 20, "{silence:?}");
    assert!(!segment.holds(1, "10.5.0.100/24"));
}

#[test]
fn without_an_heir_a_hand_over_ends_at_its_deadline() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let mark = Instant::now();
    node.keepalived.hand_over(SECOND);
    wait_for("leaving in the status", SECOND, || node.keepalived.status().instances[0].leaving);
    assert!(segment.holds(1, "10.5.0.100/24"), "it serves on");
    node.wait_for_event("ended: Ok(())", 5 * SECOND);
    assert!(mark.elapsed() >= SECOND);
    assert!(!segment.holds(1, "10.5.0.100/24"));
}
