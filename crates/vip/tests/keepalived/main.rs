//! Our routers beside Debian's keepalived on real segments, seen by a client that asks the virtual
//! address each millisecond. Needs root, keepalived and iproute2.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod foreign;
mod mixed;
mod priorities;
mod take_overs;

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use vrrp::{Reason, State, Version};

use client::Client;
use common::{Cluster, Segment, Speaker, wait_for};

const SECOND: Duration = Duration::from_secs(1);

/// As k0s sets it on every node.
const PRIORITY: u8 = 200;

/// Between the end of a timer and the first answer of the new holder: two daemons, the kernel's
/// address, the client's neighbour table, on a machine that has other work.
const MARGIN: Duration = Duration::from_millis(150);

/// A planned move of ours is not noticed: no retransmission, no timeout.
const PLANNED: Duration = Duration::from_millis(50);

/// The kernel makes and ends namespaces under the same lock as it changes addresses, for up to a
/// tenth of a second each. What is measured in milliseconds therefore runs alone.
static STAGE: RwLock<()> = RwLock::new(());

/// Routers on a segment, and their client.
struct Scene {
    title: &'static str,
    cluster: Cluster,
    segment: Segment,
    client: Client,
    _turn: Turn,
}

/// Held until the scene's namespaces have ended.
enum Turn {
    Beside { _others: RwLockReadGuard<'static, ()> },
    Alone { _nobody: RwLockWriteGuard<'static, ()> },
}

impl Scene {
    /// With so many hosts for routers, and one more for the client.
    fn new(title: &'static str, cluster: Cluster, routers: usize) -> Self {
        let others = STAGE.read().unwrap_or_else(PoisonError::into_inner);
        Self::set_up(title, cluster, routers, Turn::Beside { _others: others })
    }

    /// With no other scene at the same time.
    fn alone(title: &'static str, cluster: Cluster, routers: usize) -> Self {
        let nobody = STAGE.write().unwrap_or_else(PoisonError::into_inner);
        Self::set_up(title, cluster, routers, Turn::Alone { _nobody: nobody })
    }

    fn set_up(title: &'static str, cluster: Cluster, routers: usize, turn: Turn) -> Self {
        let segment = Segment::new(routers + 1);
        let client = Client::start(&segment, routers + 1, &cluster);
        Self { title, cluster, segment, client, _turn: turn }
    }

    /// (256 - priority) / 256 of a second in version 2 (RFC 3768 section 6.1), of the interval in
    /// version 3 (RFC 9568 section 6.1).
    fn skew(&self, priority: u8) -> Duration {
        let unit = if self.cluster.version == Version::V2 { SECOND } else { self.cluster.interval };
        unit * (256 - u32::from(priority)) / 256
    }

    /// How long a Backup of this priority waits for an advertisement.
    fn down_interval(&self, priority: u8) -> Duration {
        self.cluster.interval * 3 + self.skew(priority)
    }

    /// Enough for every router to have heard the holder.
    fn settle(&self) {
        std::thread::sleep(self.cluster.interval + MARGIN);
    }

    /// Waits until the client is answered by this host.
    fn wait_for_holder(&self, host: usize) {
        let what = format!("{}: an answer of host {host}", self.title);
        wait_for(&what, Duration::from_secs(6), || self.client.holder() == Some(host));
    }

    /// Judges the silence of the virtual address since `from`.
    fn report(&self, what: &str, from: Instant, limit: Duration) {
        self.report_span(what, from..Instant::now(), limit);
    }

    fn report_span(&self, what: &str, span: Range<Instant>, limit: Duration) {
        let silence = self.client.silence(span);
        println!("{}: {what}: {:.1} ms", self.title, silence.as_secs_f64() * 1_000.0);
        assert!(silence <= limit, "{}: {what}: {silence:?}, {limit:?} is the limit", self.title);
    }

    /// Ours, once it has heard the holder.
    fn join(&self, host: usize, priority: u8) -> Speaker {
        let speaker = self.segment.speaker(host, &self.cluster, priority);
        wait_for("an Active router", self.down_interval(priority), || {
            speaker.vip.status().instances[0].active_router.is_some()
        });
        speaker
    }
}

/// Leaves; as the holder it must find an heir. Says when it left.
fn hand_over(speaker: Speaker) -> Instant {
    let held = speaker.state() == State::Active;
    speaker.vip.hand_over(Duration::from_secs(10));
    wait_for("the end of the hand-over", Duration::from_secs(10), || {
        speaker.state() == State::Initialize
    });
    let left = Instant::now();
    let reason = speaker.vip.status().instances[0].transitions.last().unwrap().transition.reason;
    assert_eq!(matches!(reason, Reason::HandedOver(_)), held, "{reason}");
    assert_no_complaints(&speaker);
    left
}

fn assert_no_complaints(speaker: &Speaker) {
    assert_eq!(speaker.complaints(), [""; 0]);
}
