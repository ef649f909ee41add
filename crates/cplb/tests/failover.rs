//! Who holds the virtual IP: exactly one node, moved only by what befalls that node. In network
//! namespaces, as stories; needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::time::Duration;

use common::{Cluster, LONG, plan};
use lab::world::State;

const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is gone from a node whose process has died.
const GONE: Duration = seconds(3);

#[test]
fn leaving_is_make_before_break_and_coming_takes_nothing_away() {
    let mut cluster = Cluster::build(plan());
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the only node holds", |cluster| cluster.holders() == [0]);

    // Both have the higher address, which would decide between equals that both hold.
    let begin = cluster.now();
    cluster.world.start_all().unwrap();
    cluster.tell("controller-2 and controller-3 started");
    cluster.settle();
    cluster.pass(seconds(4));
    assert_eq!(cluster.holders(), [0], "a started node takes nothing away");
    assert_eq!(cluster.moves_since(begin), 0);

    cluster.ask();
    cluster.pass(seconds(1));
    let begin = cluster.now();
    cluster.world.node_mut(0).controller.stop().unwrap();
    cluster.tell("controller-1 told to stop");
    assert!(cluster.world.node_mut(0).controller.wait(LONG));
    cluster.tell("controller-1 ended");
    assert_eq!(cluster.world.node_mut(0).controller.state(), State::Ended { code: Some(0) });
    cluster.pass(seconds(1));
    let figures = cluster.figures_since(begin);
    let heir = cluster.holder();
    assert_ne!(heir, 0);
    assert_eq!(cluster.moves_since(begin), 1);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    // On a quiet machine it is below 50 ms, which `cplb lab --batch` measures.
    assert!(figures.longest_silence <= milliseconds(150), "{figures:?}");
    assert_eq!(cluster.tables(0), "");
    assert_eq!(cluster.addresses(0), 0);

    // Connections of the old holder are reset rather than left to hang.
    let watch = cluster.watch_changes_since(begin);
    cluster.tell(&format!("the watch: {watch:.1?}"));
    let [(cut, false), (back, true)] = watch[..] else { panic!("cut once, back once: {watch:?}") };
    assert!(back - cut <= seconds(1), "{watch:?}");

    let begin = cluster.now();
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.tell("controller-1 started again");
    cluster.settle();
    cluster.pass(seconds(4));
    assert_eq!(cluster.holders(), [heir], "a restarted node takes nothing away");
    let figures = cluster.figures_since(begin);
    assert_eq!(cluster.moves_since(begin), 0);
    assert_eq!(figures.failed(), 0, "{figures:?}");
}
