//! The address moves when it should, and only then.

use std::fs;
use std::time::Duration;

use lab::world::State;
use serde_json::json;

use crate::common::{Cluster, LONG, on};
use crate::{DOWN, SECOND, keepalived, pid, start, wait_for_another_holder, watchdog};

/// What is gone from a node whose process has died.
const GONE: Duration = Duration::from_secs(3);

#[test]
fn leaving_is_make_before_break_and_coming_takes_nothing_away() {
    let mut cluster = start(keepalived());
    let holder = cluster.holder();
    cluster.ask();
    cluster.pass(SECOND);

    let begin = cluster.now();
    cluster.world.node_mut(holder).controller.stop().unwrap();
    cluster.tell("the holder told to stop");
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    assert_eq!(cluster.world.node_mut(holder).controller.state(), State::Ended { code: Some(0) });
    cluster.pass(SECOND);
    let figures = cluster.figures_since(begin);
    let heir = cluster.holder();
    assert_ne!(heir, holder);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    // 50 ms on a quiet machine; a tie of two heirs costs a second at most.
    assert!(figures.longest_silence <= SECOND + SECOND / 4, "{figures:?}");
    assert_eq!((cluster.tables(holder), cluster.addresses(holder)), (String::new(), 0));

    assert_takes_nothing_away(&mut cluster, holder, heir);
}

#[test]
fn a_killed_daemon_leaves_no_second_holder_and_starts_clean() {
    let mut cluster = start(keepalived());
    let killed = cluster.holder();
    let begin = cluster.now();
    let speaker = pid(&cluster, killed, "keepalived-vrrp.pid");
    cluster.world.node_mut(killed).controller.kill().unwrap();
    assert!(cluster.world.node_mut(killed).controller.wait(LONG));
    cluster.tell("the holder's daemon killed");
    let heir = wait_for_another_holder(&cluster, killed);
    cluster.pass(2 * SECOND);
    let released = cluster.holdings().released_after(killed, begin).unwrap();
    cluster.tell(&format!("the dead one's address was gone after {released:.1?}"));
    assert!(released <= GONE, "{released:?}");
    assert_eq!(cluster.doubly_held_since(begin + GONE + DOWN), Duration::ZERO);
    // Empty for one that has ended and was not yet waited for.
    let program = fs::read(format!("/proc/{}/cmdline", speaker.as_raw_nonzero()));
    assert_eq!(program.unwrap_or_default(), b"", "its keepalived has ended");
    assert_eq!(watchdog(&cluster, killed), None, "it ends with the daemon");

    assert_takes_nothing_away(&mut cluster, killed, heir);
}

/// Starts the node again, beside the one that holds now.
fn assert_takes_nothing_away(cluster: &mut Cluster, restarted: usize, holder: usize) {
    let begin = cluster.now();
    cluster.world.node_mut(restarted).controller.start().unwrap();
    cluster.tell("started again");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [holder], "a restarted node takes nothing away");
    assert_eq!(cluster.moves_since(begin), 0);
}

#[test]
fn the_address_follows_the_ability_to_serve() {
    let mut cluster = start(keepalived());
    cluster.ask();
    let holder = cluster.holder();
    let begin = cluster.now();
    for line in [
        "nft add table inet block",
        "nft add chain inet block out { type filter hook output priority 0 ; }",
        "nft add rule inet block out tcp dport 6443 drop",
    ] {
        on(cluster.world.node(holder).host(), line);
    }
    cluster.tell("the holder reaches no apiserver");
    let heir = wait_for_another_holder(&cluster, holder);
    let status = cluster.status_of(holder).unwrap();
    assert_eq!(
        (&status["ready"], &status["virtual_routers"][0]["priority"]),
        (&json!(false), &json!(100))
    );
    on(cluster.world.node(holder).host(), "nft delete table inet block");
    cluster.tell("it reaches them again");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "able again is no reason to take it back");
    cluster.figures_since(begin);
}
