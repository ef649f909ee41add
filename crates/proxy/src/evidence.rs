//! What the traffic shows about the backends, for whoever judges their health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use arc_swap::ArcSwap;

/// Something a backend did to a client of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The backend it is about.
    pub backend: SocketAddr,
    /// What it did.
    pub kind: EvidenceKind,
}

/// What a backend did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceKind {
    /// It answered the connect with a reset: nothing listens there.
    Refused,
    /// There is no way to it: no route, no such host, or a firewall that says so.
    Unreachable,
    /// It did not answer the connect in time.
    ConnectTimeout,
    /// It accepted, was sent a ClientHello and did not answer: another backend answered the same
    /// sooner, or `hedge_after` passed in full.
    Silent,
    /// It accepted and then closed or reset the connection without a byte.
    ResetBeforeFirstByte,
    /// It sent its first byte.
    Answered,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 6;

/// What a subscriber may leave unread before further evidence is dropped.
const BACKLOG: usize = 256;

impl EvidenceKind {
    /// The time within which the same evidence is reported once.
    fn interval(self) -> Duration {
        match self {
            Self::Answered => Duration::from_secs(1),
            _ => Duration::from_millis(100),
        }
    }
}

/// When each kind was last reported about one backend, in milliseconds since the proxy's start.
#[derive(Debug, Default)]
pub(crate) struct LastReports([AtomicU64; KINDS]);

impl LastReports {
    /// Whether `kind` is due again at `now`, and if so notes that it is reported.
    fn take(&self, kind: EvidenceKind, now: Duration) -> bool {
        let last = &self.0[kind as usize];
        // 0 stands for "never", so that the first millisecond counts as the second.
        let now_millis = (now.as_millis() as u64).max(1);
        let seen = last.load(Relaxed);
        if seen != 0 && now_millis < seen + kind.interval().as_millis() as u64 {
            return false;
        }
        last.compare_exchange(seen, now_millis, Relaxed, Relaxed).is_ok()
    }
}

/// Everyone who wants to hear.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(ArcSwap<Vec<Arc<SyncSender<Evidence>>>>);

impl Subscribers {
    /// A receiver of everything reported from now on.
    pub(crate) fn subscribe(&self) -> Receiver<Evidence> {
        let (sender, receiver) = sync_channel(BACKLOG);
        let sender = Arc::new(sender);
        self.0.rcu(|senders| {
            let mut senders = Vec::clone(senders);
            senders.push(Arc::clone(&sender));
            senders
        });
        receiver
    }

    /// Tells everyone, unless the same was said a moment ago. Never waits: who does not read
    /// loses evidence, not the proxy time.
    pub(crate) fn report(&self, evidence: Evidence, reports: &LastReports, now: Duration) {
        if !reports.take(evidence.kind, now) {
            return;
        }
        for sender in self.0.load().iter() {
            if matches!(sender.try_send(evidence), Err(TrySendError::Disconnected(_))) {
                self.forget(sender);
            }
        }
    }

    fn forget(&self, gone: &Arc<SyncSender<Evidence>>) {
        self.0.rcu(|senders| {
            let mut senders = Vec::clone(senders);
            senders.retain(|sender| !Arc::ptr_eq(sender, gone));
            senders
        });
    }
}

#[cfg(test)]
mod tests;
