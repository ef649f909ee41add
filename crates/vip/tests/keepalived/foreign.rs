//! Another cluster that was given the same virtual router identifier.

use std::time::Instant;

use vip::Event;
use vrrp::State;

use crate::common::{Cluster, Speaker};
use crate::daemon::Keepalived;
use crate::{PLANNED, PRIORITY, SECOND, Scene};

/// keepalived starts its advertisement timer anew with every packet of its identifier, one with a
/// wrong password too, so that a stranger of the same interval keeps it from speaking, and its
/// Backup takes over again and again. Seen with 2.2.7 beside a stranger that advertises each
/// 1.00 s: one advertisement in 20 s, and of a pair each takes over seven times in 25 s.
#[test]
fn it_disturbs_nobody_and_nobody_disturbs_it() {
    let foreign = Cluster { password: Some("public"), address: "10.5.0.200/24", ..Cluster::v2() };
    let scene = Scene::new("foreign cluster", Cluster::v2(), 4);
    let Scene { cluster, segment, client, .. } = &scene;
    let holder = segment.speaker(1, cluster, PRIORITY);
    scene.wait_for_holder(1);
    let backup = scene.join(2, PRIORITY);

    let mark = Instant::now();
    let first = Keepalived::start(segment, 3, &foreign, PRIORITY);
    first.wait_until("MASTER", 5 * SECOND);
    let second = Keepalived::start(segment, 4, &foreign, PRIORITY);
    let begin = heard(&holder);
    std::thread::sleep(30 * SECOND);

    assert_eq!(client.holders(mark), [1]);
    scene.report("beside another cluster", mark, PLANNED);
    assert_eq!(events(&holder), [STARTED, TOOK_OVER, DROPPED]);
    assert_eq!(events(&backup), [STARTED, DROPPED]);
    assert_eq!(backup.state(), State::Backup);

    assert_eq!(states(&first), ["BACKUP STATE (init)", "MASTER STATE"], "{}", first.log());
    assert_eq!(states(&second), ["BACKUP STATE (init)"], "{}", second.log());
    assert!(segment.holds(3, &foreign) && !segment.holds(4, &foreign));
    // One each second, but for the 36 ms that it may wait for ours.
    let advertisements = heard(&holder) - begin;
    println!("foreign cluster: {advertisements} advertisements of it in 30 s");
    assert!((27..=31).contains(&advertisements), "{advertisements} advertisements in 30 s");

    let complaints = first.complaints();
    assert!(complaints.len() > 10, "{}", first.log());
    assert!(complaints.iter().all(|line| line.ends_with("received an invalid passwd!")));
}

const STARTED: &str = "Initialize to Backup";
const TOOK_OVER: &str = "Backup to Active";
const DROPPED: &str = "10.5.0.3 dropped: password";

/// The packets dropped for their password.
fn heard(speaker: &Speaker) -> u64 {
    let status = speaker.vip.status();
    status.instances[0].counters.dropped.get("password").copied().unwrap_or(0)
}

fn states(keepalived: &Keepalived) -> Vec<String> {
    let log = keepalived.log();
    let entered = log.lines().filter_map(|line| line.split_once(") Entering "));
    entered.map(|(_, state)| state.to_owned()).collect()
}

fn events(speaker: &Speaker) -> Vec<String> {
    let text = |event| match event {
        Event::Transition { transition, .. } => {
            format!("{} to {}", transition.from.name(), transition.to.name())
        }
        Event::Dropped { source, reason, .. } => format!("{source} dropped: {}", reason.label()),
        other => format!("{other:?}"),
    };
    speaker.events.try_iter().map(text).collect()
}
