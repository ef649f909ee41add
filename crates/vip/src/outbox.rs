use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vrrp::Instant;

/// Announcements on their way, by the index of their interface.
///
/// All virtual routers of an interface share its rate, since switches count what comes from a port
/// and not what it says. What is announced for the first time goes before every repetition, so
/// that no address waits for the burst of another.
#[derive(Debug, Default)]
pub(crate) struct Outboxes(BTreeMap<u32, Outbox>);

#[derive(Debug, Default)]
struct Outbox {
    queue: BTreeSet<(u32, Announcement)>,
    /// What is in the queue: nothing is there twice, however slow it moves.
    queued: BTreeSet<Announcement>,
    /// When all that was sent would have gone out, one after the other.
    spent: Instant,
}

/// One frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    /// The number of the instance whose address it is.
    pub(crate) instance: usize,
    pub(crate) form: Form,
    pub(crate) address: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// An ARP request or a neighbour advertisement.
    Usual,
    /// An ARP reply, for those that learn from nothing else.
    Reply,
}

/// 250 frames a second for long.
const EACH: Duration = Duration::from_millis(4);

/// As many at once.
const AT_ONCE: u32 = 128;

impl Outboxes {
    /// Those with a lower `turn` go first.
    pub(crate) fn put(&mut self, link_index: u32, turn: u32, announcement: Announcement) {
        let outbox = self.0.entry(link_index).or_default();
        if outbox.queued.insert(announcement) {
            outbox.queue.insert((turn, announcement));
        }
    }

    /// The next one that may be sent now.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Announcement> {
        self.0.retain(|_, outbox| !outbox.queue.is_empty() || outbox.spent > now);
        self.0.values_mut().find_map(|outbox| outbox.take(now))
    }

    /// When there is one to send.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(Outbox::next).min()
    }
}

impl Outbox {
    fn take(&mut self, now: Instant) -> Option<Announcement> {
        if self.next()? > now {
            return None;
        }
        let (_, announcement) = self.queue.pop_first()?;
        self.queued.remove(&announcement);
        self.spent = self.spent.max(now) + EACH;
        Some(announcement)
    }

    fn next(&self) -> Option<Instant> {
        let ahead = EACH * (AT_ONCE - 1);
        (!self.queue.is_empty()).then(|| self.spent - ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 10_000;

    fn at(milliseconds: u64) -> Instant {
        Instant::new(Duration::from_millis(START + milliseconds))
    }

    fn announcement(instance: usize, last: u8, form: Form) -> Announcement {
        Announcement { instance, form, address: IpAddr::from([10, 0, 0, last]) }
    }

    fn put(outboxes: &mut Outboxes, link_index: u32, instance: usize, addresses: u8) {
        for last in 0..addresses {
            outboxes.put(link_index, 0, announcement(instance, last, Form::Usual));
            outboxes.put(link_index, 1, announcement(instance, last, Form::Reply));
        }
    }

    fn taken(outboxes: &mut Outboxes, now: Instant) -> Vec<Announcement> {
        std::iter::from_fn(|| outboxes.take(now)).collect()
    }

    #[test]
    fn the_first_of_each_address_goes_before_the_second_of_any() {
        let mut outboxes = Outboxes::default();
        put(&mut outboxes, 2, 7, 3);
        put(&mut outboxes, 2, 8, 2);
        let forms: Vec<Form> = taken(&mut outboxes, at(0)).iter().map(|it| it.form).collect();
        assert_eq!(forms, [[Form::Usual; 5], [Form::Reply; 5]].concat());
        assert_eq!(outboxes.next(), None);
    }

    #[test]
    fn an_interface_carries_128_at_once_and_then_250_a_second_whoever_sends() {
        let mut outboxes = Outboxes::default();
        put(&mut outboxes, 2, 7, 100);
        put(&mut outboxes, 2, 8, 100);
        assert_eq!(taken(&mut outboxes, at(0)).len(), 128);
        assert_eq!(outboxes.next(), Some(at(4)));
        assert_eq!(taken(&mut outboxes, at(3)).len(), 0);
        assert_eq!(taken(&mut outboxes, at(4)).len(), 1);
        assert_eq!(taken(&mut outboxes, at(400)).len(), 99);
        // The other interface has its own rate.
        put(&mut outboxes, 3, 9, 10);
        assert_eq!(taken(&mut outboxes, at(400)).len(), 20);
        // Of 400 there are 172 left, but a long silence saves no more than it may carry at once.
        assert_eq!(taken(&mut outboxes, at(60_000)).len(), 128);
        assert_eq!(outboxes.next(), Some(at(60_004)));
    }

    #[test]
    fn what_waits_is_not_queued_twice() {
        let mut outboxes = Outboxes::default();
        for _ in 0..5 {
            put(&mut outboxes, 2, 7, 10);
        }
        assert_eq!(taken(&mut outboxes, at(0)).len(), 20);
    }
}
