//! An instance with addresses of both families: both are always on one host. Witnessed by the
//! kernel's own notifications (`ip monitor`). Needs root and iproute2.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use common::{Cluster, Segment, Speaker, wait_for};
use vip::Event;
use vrrp::{Reason, State};

const SECOND: Duration = Duration::from_secs(1);

/// An advertisement's flight, two threads and two changes of the kernel, on a busy machine.
const TOGETHER: Duration = Duration::from_millis(100);

#[test]
fn a_stop_moves_both() {
    let scene = Scene::new();
    let (holder, heir) = scene.settled();
    let mark = Instant::now();
    holder.speaker.vip.hand_over(5 * SECOND);
    wait_for("the end of the hand-over", 3 * SECOND, || {
        holder.speaker.events.try_iter().any(|event| matches!(event, Event::Ended(Ok(()))))
    });
    heir.assert_holds_both_since(mark);
    holder.assert_lost_both_since(mark);
    let follows: Vec<_> = heir.speaker.vip.status().instances.iter().map(|it| it.follows).collect();
    assert_eq!(follows, [None, Some(format!("10.5.0.{}", heir.host).parse().unwrap())]);
    for status in &holder.speaker.vip.status().instances {
        let reason = status.transitions.last().unwrap().transition.reason;
        assert!(matches!(reason, Reason::HandedOver(_)), "{reason}");
    }
}

#[test]
fn a_stop_at_once_moves_both() {
    let scene = Scene::new();
    let (mut holder, heir) = scene.settled();
    let mark = Instant::now();
    drop(holder.speaker.vip);
    wait_for("the heir", 3 * SECOND, || heir.is(State::Active));
    heir.assert_holds_both_since(mark);
    holder.monitor.assert_both_within("Deleted ", mark);
    holder.monitor.end();
}

#[test]
fn a_host_that_cannot_serve_hands_over_both() {
    let scene = Scene::new();
    let (holder, heir) = scene.settled();
    let mark = Instant::now();
    holder.speaker.vip.set_ready(false);
    wait_for("the heir", 3 * SECOND, || heir.is(State::Active) && holder.is(State::Backup));
    heir.assert_holds_both_since(mark);
    holder.assert_lost_both_since(mark);
}

#[test]
fn a_host_whose_service_is_dead_hands_over_both() {
    let scene = Scene::new();
    let (holder, heir) = scene.settled();
    let mark = Instant::now();
    holder.speaker.service.dead.store(true, Relaxed);
    wait_for("the heir", 4 * SECOND, || heir.is(State::Active) && holder.is(State::Backup));
    heir.assert_holds_both_since(mark);
}

#[test]
fn after_a_partition_both_are_on_the_same_host_again() {
    let scene = Scene::new();
    let (holder, heir) = scene.settled();
    let mark = Instant::now();
    scene.segment.cut(holder.host);
    wait_for("the heir", 5 * SECOND, || heir.is(State::Active));
    heir.assert_holds_both_since(mark);
    assert!(holder.is(State::Active), "it cannot know");

    // The higher address is that of host 2, in IPv4; in IPv6 nobody asks.
    let mark = Instant::now();
    scene.segment.heal(holder.host);
    let (winner, loser) = if holder.host == 2 { (holder, heir) } else { (heir, holder) };
    wait_for("the loser", 3 * SECOND, || loser.is(State::Backup));
    loser.assert_lost_both_since(mark);
    assert!(winner.is(State::Active));
}

struct Scene {
    segment: Segment,
}

/// A host with our speaker, and what its kernel tells.
struct Host {
    host: usize,
    speaker: Speaker,
    monitor: Monitor,
}

impl Scene {
    fn new() -> Self {
        Self { segment: Segment::new(2) }
    }

    /// The holder of both, and its heir.
    fn settled(&self) -> (Host, Host) {
        let mark = Instant::now();
        let host = |number| Host {
            host: number,
            monitor: Monitor::start(&self.segment, number),
            speaker: self.segment.speaker_of(number, "eth0", &clusters(), 100),
        };
        let [one, two] = [1, 2].map(host);
        wait_for("a holder of both", 6 * SECOND, || {
            one.is(State::Active) && two.is(State::Backup)
                || two.is(State::Active) && one.is(State::Backup)
        });
        let (holder, heir) = if one.is(State::Active) { (one, two) } else { (two, one) };
        holder.assert_holds_both_since(mark);
        wait_for("the heir to have heard of either", 3 * SECOND, || {
            heir.speaker.vip.status().instances.iter().all(|it| it.active_router.is_some())
        });
        (holder, heir)
    }
}

fn clusters() -> [Cluster; 2] {
    [Cluster::v2(), Cluster::v3_ipv6()]
}

impl Host {
    /// Both routers.
    fn is(&self, state: State) -> bool {
        self.speaker.vip.status().instances.iter().all(|it| it.state == state)
    }

    fn assert_holds_both_since(&self, mark: Instant) {
        self.monitor.assert_both_within("", mark);
    }

    fn assert_lost_both_since(&self, mark: Instant) {
        self.monitor.assert_both_within("Deleted ", mark);
    }
}

/// `ip monitor` on a host.
struct Monitor {
    process: Child,
    lines: Receiver<(Instant, String)>,
}

impl Monitor {
    fn start(segment: &Segment, host: usize) -> Self {
        let command = ["ip", "-oneline", "monitor", "address", "dev", "eth0"];
        let mut process = segment.spawn(host, &command);
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send((Instant::now(), line));
            }
        });
        Self { process, lines }
    }

    /// Both virtual addresses came, or went, and at one time.
    fn assert_both_within(&self, prefix: &str, mark: Instant) {
        let wanted = clusters().map(|cluster| format!(" {} ", cluster.address));
        let mut seen = [None; 2];
        let mut log = vec![];
        while seen.iter().any(Option::is_none) {
            let line = self.lines.recv_timeout(4 * SECOND);
            let (at, line) = line.unwrap_or_else(|_| panic!("not both of {prefix:?}: {log:#?}"));
            let kind = if line.starts_with("Deleted ") { "Deleted " } else { "" };
            for (seen, wanted) in seen.iter_mut().zip(&wanted) {
                if at >= mark && kind == prefix && line.contains(wanted.as_str()) {
                    seen.get_or_insert(at);
                }
            }
            log.push(line);
        }
        let [Some(one), Some(other)] = seen else { unreachable!("the loop has ended") };
        let apart = one.max(other) - one.min(other);
        assert!(apart <= TOGETHER, "{apart:?} apart: {log:#?}");
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.end();
    }
}
