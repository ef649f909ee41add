//! Another cluster that was given the same virtual router identifier.

use std::time::Instant;

use vip::Event;

use crate::common::{Cluster, Speaker};
use crate::daemon::Keepalived;
use crate::{PLANNED, PRIORITY, SECOND, Scene};

/// Its single router neither moves us nor is it moved.
///
/// Two of them would move each other: keepalived starts its advertisement timer anew with every
/// packet of its identifier, one with a wrong password too, so that a stranger of the same interval
/// keeps it from speaking. Seen with 2.2.7: one advertisement of it in these 20 s; of a pair, each
/// takes over seven times in 25 s beside a stranger that advertises each 1.00 s, whoever that is,
/// and not once beside one of 1.03 s.
#[test]
fn it_disturbs_nobody() {
    let foreign = Cluster { password: Some("public"), address: "10.5.0.200/24", ..Cluster::v2() };
    let scene = Scene::new("foreign cluster", Cluster::v2(), 3);
    let Scene { cluster, segment, client, .. } = &scene;
    let holder = segment.speaker(1, cluster, PRIORITY);
    scene.wait_for_holder(1);
    let backup = scene.join(2, PRIORITY);

    let mark = Instant::now();
    let keepalived = Keepalived::start(segment, 3, &foreign, PRIORITY);
    keepalived.wait_until("MASTER", 5 * SECOND);
    std::thread::sleep(20 * SECOND);
    assert_eq!(client.holders(mark), [1]);
    scene.report("beside another cluster", mark, PLANNED);
    assert_eq!(events(&holder), [STARTED, TOOK_OVER, DROPPED]);
    assert_eq!(events(&backup), [STARTED, DROPPED]);

    let log = keepalived.log();
    let entered = log.lines().filter_map(|line| line.split_once(") Entering "));
    let entered: Vec<&str> = entered.map(|(_, state)| state).collect();
    assert_eq!(entered, ["BACKUP STATE (init)", "MASTER STATE"], "{log}");
    assert!(segment.holds(3, &foreign));
    let complaints = keepalived.complaints();
    assert!(complaints.len() > 10, "{log}");
    assert!(complaints.iter().all(|line| line.ends_with("received an invalid passwd!")), "{log}");
}

const STARTED: &str = "Initialize to Backup";
const TOOK_OVER: &str = "Backup to Active";
const DROPPED: &str = "10.5.0.3 dropped: password";

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
