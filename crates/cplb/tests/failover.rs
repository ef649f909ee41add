//! Who holds the virtual IP: exactly one node, moved only by what befalls that node. In network
//! namespaces, as stories; needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::time::Duration;

use common::{CPLB, Cluster, LONG, VIP, on, plan, text, try_on};
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

#[test]
fn a_dead_or_hanging_holder_is_no_second_holder() {
    let mut cluster = Cluster::start();
    cluster.ask();
    cluster.pass(seconds(1));

    let killed = cluster.holder();
    let begin = cluster.now();
    cluster.world.node_mut(killed).controller.kill().unwrap();
    assert!(cluster.world.node_mut(killed).controller.wait(LONG));
    cluster.tell(&format!("controller-{} killed", killed + 1));
    assert_eq!(cluster.tables(killed), "", "the firewall table is gone with its process");
    cluster.pass(seconds(5));
    let released = cluster.holdings().released_after(killed, begin);
    cluster.tell(&format!("the dead one's address was gone after {released:.1?}"));
    assert!(released.is_some_and(|released| released <= GONE), "{released:?}");
    assert_eq!(cluster.doubly_held_since(begin + GONE), Duration::ZERO);
    assert_eq!(cluster.moves_since(begin), 1);
    let figures = cluster.figures_since(begin);
    cluster.tell(&format!("the watch: {:.1?}", cluster.watch_changes_since(begin)));
    assert!(cluster.watch_is_established());
    // 3.3 s on a quiet machine.
    assert!(figures.longest_silence <= milliseconds(3_800), "{figures:?}");
    let heir = cluster.holder();

    let begin = cluster.now();
    cluster.world.node_mut(killed).controller.start().unwrap();
    cluster.tell(&format!("controller-{} started again", killed + 1));
    cluster.settle();
    cluster.pass(seconds(4));
    assert_eq!(cluster.holders(), [heir], "a restarted node takes nothing away");
    assert_eq!(cluster.moves_since(begin), 0);
    assert_eq!(cluster.tables(killed), "table inet cplb\n");
    assert_eq!(cluster.addresses(killed), 0);

    let begin = cluster.now();
    cluster.world.node_mut(heir).controller.freeze().unwrap();
    cluster.tell(&format!("controller-{} frozen", heir + 1));
    cluster.pass(seconds(5));
    let released = cluster.holdings().released_after(heir, begin);
    cluster.tell(&format!("the frozen one's address was gone after {released:.1?}"));
    assert!(released.is_some_and(|released| released <= GONE), "{released:?}");
    let next = cluster.holder();
    assert_ne!(next, heir);
    cluster.world.node_mut(heir).controller.thaw().unwrap();
    cluster.tell(&format!("controller-{} thawed", heir + 1));
    cluster.pass(seconds(4));
    assert_eq!(cluster.holders(), [next], "a thawed node takes nothing back");
    assert_eq!(cluster.doubly_held_since(begin + GONE), Duration::ZERO);
    assert_eq!(cluster.moves_since(begin), 1);
    assert_eq!(cluster.addresses(next), 1);
}

#[test]
fn cleanup_leaves_nothing_and_refuses_while_a_daemon_runs() {
    let mut cluster = Cluster::start();
    let holder = cluster.holder();
    let run_dir = cluster.world.node(holder).run_dir.clone();
    let cleanup = format!("{CPLB} cleanup --run-dir {}", run_dir.display());
    let clean = |cluster: &Cluster| {
        let output = try_on(cluster.world.node(holder).host(), &cleanup);
        cluster.tell(&format!("cplb cleanup: {}{}", text(&output.stdout), text(&output.stderr)));
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let pid = cluster.status_of(holder).unwrap()["pid"].to_string();
    let refusal = format!(
        "cplb: another cplb (pid {pid}) works in {}: stop it, or give this one its own --run-dir\n",
        run_dir.display()
    );
    assert_eq!(clean(&cluster), (Some(69), String::new(), refusal));
    assert_eq!(cluster.holder(), holder);
    assert_eq!(cluster.tables(holder), "table inet cplb\n");

    cluster.world.node_mut(holder).controller.kill().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    // As a kernel leaves it that does not know tables with an owner.
    on(cluster.world.node(holder).host(), "nft add table inet cplb");
    on(cluster.world.node(holder).host(), "nft add table inet another");
    assert_eq!(cluster.addresses(holder), 1);
    let removed = "removed the firewall rules of cplb\nremoved the virtual address 10.0.0.100/24\n";
    assert_eq!(clean(&cluster), (Some(0), removed.to_owned(), String::new()));
    assert_eq!(cluster.addresses(holder), 0);
    assert_eq!(cluster.tables(holder), "table inet another\n");
    let nothing = "nothing of cplb is left in the kernel\n";
    assert_eq!(clean(&cluster), (Some(0), nothing.to_owned(), String::new()));
}

#[test]
fn what_others_take_from_the_holder_comes_back() {
    let mut cluster = Cluster::start();
    cluster.ask();
    let holder = cluster.holder();
    let begin = cluster.now();
    let on_holder = |cluster: &Cluster, line: &str| {
        cluster.tell(&format!("on the holder: {line}"));
        on(cluster.world.node(holder).host(), line)
    };

    on_holder(&cluster, &format!("ip address del {VIP}/24 dev eth0"));
    let took = cluster.eventually("the address is back", |cluster| cluster.addresses(holder) == 1);
    assert!(took <= seconds(2));
    let rules = on_holder(&cluster, "nft --stateless list ruleset");
    assert!(rules.contains("redirect to :6444"), "{rules}");
    on_holder(&cluster, "nft flush ruleset");
    cluster.eventually("the redirect is there", |cluster| {
        on(cluster.world.node(holder).host(), "nft --stateless list ruleset") == rules
    });
    let refused = try_on(cluster.world.node(holder).host(), "nft delete table inet cplb");
    assert!(text(&refused.stderr).contains("Operation not permitted"), "{refused:?}");
    cluster.pass(seconds(2));
    assert_eq!(cluster.holders(), [holder]);
    assert_eq!(cluster.moves_since(begin), 0);
    let log = cluster.log_of(holder);
    let told = "somebody removed the virtual IP from the interface; it is back";
    assert_eq!(log.matches(told).count(), 1, "{log}");

    let begin = cluster.now();
    cluster.world.cut(holder).unwrap();
    cluster.tell("the holder is cut off");
    cluster.pass(seconds(5));
    cluster.world.heal(holder).unwrap();
    cluster.tell("healed");
    cluster.pass(seconds(4));
    let heir = cluster.holder();
    cluster.tell(&format!("moved {} times", cluster.moves_since(begin)));
    let figures = cluster.figures_since(cluster.now() - seconds(2));
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_ne!(heir, holder, "it comes back as an equal, which takes nothing away");
}

#[test]
fn the_address_follows_the_ability_to_serve() {
    let mut cluster = Cluster::start();
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
    cluster.eventually("another one holds", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1 && holders != [holder]
    });
    let heir = cluster.holder();
    let status = cluster.status_of(holder).unwrap();
    assert_eq!(status["ready"], false);
    on(cluster.world.node(holder).host(), "nft delete table inet block");
    cluster.tell("it reaches them again");
    cluster.settle();
    cluster.pass(seconds(3));
    assert_eq!(cluster.holders(), [heir], "able again is no reason to take it back");
    assert_eq!(cluster.moves_since(begin), 1);
    cluster.figures_since(begin);

    let begin = cluster.now();
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.freeze().unwrap();
    }
    cluster.tell("all apiservers hang");
    cluster.eventually("no node is ready", |cluster| {
        (0..3).all(|node| cluster.status_of(node).unwrap()["ready"] == false)
    });
    cluster.pass(seconds(3));
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.thaw().unwrap();
    }
    cluster.tell("all apiservers go on");
    cluster.settle();
    cluster.pass(seconds(2));
    assert_eq!(cluster.moves_since(begin), 0, "nobody is better, so nothing moves");
    assert_eq!(cluster.holders(), [heir]);
}
