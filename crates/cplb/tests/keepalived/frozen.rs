//! A daemon that hangs: its watchdog speaks for it.

use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::{DOWN, SECOND, keepalived, start, wait_for_another_holder, watchdog};

/// The watchdog's patience.
const SILENCE: Duration = Duration::from_millis(400);

#[test]
fn a_frozen_daemon_yields_and_takes_nothing_back() {
    let mut cluster = start(keepalived());
    let frozen = cluster.holder();
    let old = watchdog(&cluster, frozen).expect("a watchdog beside keepalived");
    kill_process(old, Signal::KILL).unwrap();
    cluster.eventually("a killed watchdog is replaced", |cluster| {
        watchdog(cluster, frozen).is_some_and(|new| new != old)
    });
    // It has heard how patient it is to be.
    cluster.pass(SECOND);

    let begin = cluster.now();
    cluster.world.node_mut(frozen).controller.freeze().unwrap();
    cluster.tell("the holder's daemon frozen");
    let heir = wait_for_another_holder(&cluster, frozen);
    let released = cluster.holdings().released_after(frozen, begin).unwrap();
    cluster.tell(&format!("the frozen one's address was gone after {released:.1?}"));
    // The last advertisement of the full priority may go out just before the watchdog speaks; after
    // it the heirs wait for their down interval.
    assert!(released <= SILENCE + DOWN + SECOND, "{released:?}");
    cluster.pass(SECOND);

    let begin = cluster.now();
    cluster.world.node_mut(frozen).controller.thaw().unwrap();
    cluster.tell("thawed");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "a thawed node takes nothing back");
    assert_eq!(cluster.moves_since(begin), 0);
    let status = cluster.status_of(frozen).unwrap();
    assert_eq!(status["virtual_routers"][0]["priority"], 200, "its own word stands again");
    let log = cluster.log_of(frozen);
    assert!(log.contains("its watchdog told keepalived that this node is not ready"), "{log}");

    // Nobody else is ready, so nothing moves.
    for node in (0..3).filter(|node| *node != heir) {
        cluster.world.node_mut(node).controller.freeze().unwrap();
    }
    cluster.pass(3 * SECOND);
    let begin = cluster.now();
    cluster.world.node_mut(heir).controller.freeze().unwrap();
    cluster.tell("all daemons frozen");
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir]);
    assert_eq!(cluster.moves_since(begin), 0);
    for node in 0..3 {
        cluster.world.node_mut(node).controller.thaw().unwrap();
    }
    cluster.settle();
    assert_eq!(cluster.holders(), [heir]);
}
