//! Clients and backends in virtual time, with contests between them. Whatever a contest does is
//! checked against what the two ends have seen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use super::ends::{Client, Line, Seen, Speech, Stage};
use super::plan::{Conduct, Connect, HELLO, Leaves, Plan, Temper};
use crate::contest::{Answer, Contest, Failure, Sent, Step, Verdict};
use crate::evidence::EvidenceKind;
use crate::proxy_protocol::ProxyProtocol;
use crate::question::Reading;
use crate::settings::{Choice, Settings};
use crate::shared::Shared;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes,
    Says(usize),
    Leaves,
    Connects(usize),
    Speaks(usize),
    HasRoom(usize),
    Deadline,
}

/// Length of an answer.
const ANSWER: usize = 7;

pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) plan: Plan,
    pub(super) clients: Vec<Client>,
    /// What the backends have done to attempts: position and evidence.
    pub(super) faults: Vec<(usize, EvidenceKind)>,
    events: BinaryHeap<Reverse<(u64, u32, usize, Event)>>,
    start: Instant,
    /// Microseconds since the start.
    now: u64,
    order: u32,
    turns: usize,
    steps: usize,
}

pub(super) const MILLI: u64 = 1_000;

/// When a run ends at the latest; all else is over long before.
const END: u64 = 60_000 * MILLI;

pub(super) fn address(backend: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, backend as u8 + 1), 6443).into()
}

impl World {
    /// Plays the plan to its end: until nothing can happen any more.
    pub(super) fn play(plan: Plan) -> Self {
        let settings = Settings {
            choice: plan.choice,
            proxy_protocol: plan.introduces.then_some(ProxyProtocol::V2),
            ..Settings::default()
        };
        let shared = Shared::new(settings, 1_000, Vec::new(), Vec::new());
        let addresses: Vec<_> = (0..plan.backends.len()).map(address).collect();
        shared.backends.replace(&addresses);
        let mut world = Self {
            start: Instant::now(),
            clients: Vec::new(),
            faults: Vec::new(),
            events: BinaryHeap::new(),
            now: 0,
            order: plan.order | 1,
            turns: 0,
            steps: 0,
            shared,
            plan,
        };
        for (number, plan) in world.plan.clients.clone().into_iter().enumerate() {
            world.at(plan.comes * MILLI, number, Event::Comes);
            let usable = world.shared.backends.usable();
            world.clients.push(Client::new(plan, Contest::new(usable, 0)));
        }
        while let Some(Reverse((at, _, client, event))) = world.events.pop() {
            if at > END {
                // For want of descriptors, a client tries again every second.
                break;
            }
            world.now = at;
            world.happen(client, event);
        }
        world
    }

    fn time(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    fn at(&mut self, at: u64, client: usize, event: Event) {
        // xorshift32 (Marsaglia 2003)
        self.order ^= self.order << 13;
        self.order ^= self.order >> 17;
        self.order ^= self.order << 5;
        self.events.push(Reverse((at, self.order, client, event)));
    }

    fn after(&mut self, millis: u64, client: usize, event: Event) {
        self.at(self.now + millis * MILLI, client, event);
    }

    fn happen(&mut self, number: usize, event: Event) {
        let now = self.time();
        let client = &mut self.clients[number];
        if client.verdict.is_some() {
            return;
        }
        match event {
            Event::Comes => {
                client.turn = self.turns;
                client.contest = Contest::new(self.shared.backends.usable(), self.turns);
                self.turns += 1;
                self.announce(number);
            }
            Event::Says(length) => {
                client.said += length;
                client.notice();
            }
            Event::Leaves => {
                client.ended |= matches!(client.plan.leaves, Leaves::Ends(_));
                client.reset |= matches!(client.plan.leaves, Leaves::Resets(_));
                client.notice();
            }
            Event::Connects(attempt) => {
                let seen = &mut client.attempts[attempt];
                if seen.stage != Stage::Connecting {
                    return;
                }
                let temper = self.plan.backends[seen.backend];
                match temper.connect {
                    Connect::Accepts(_) => {
                        seen.stage = Stage::Connected;
                        client.contest.connected(attempt, EventFlags::OUT, &self.shared, now);
                        match temper.conduct {
                            Conduct::Greets(after)
                            | Conduct::EndsUnasked(after)
                            | Conduct::ResetsUnasked(after) => {
                                self.after(after, number, Event::Speaks(attempt));
                            }
                            _ => {}
                        }
                    }
                    _ => {
                        seen.failed = true;
                        self.faults.push((seen.backend, EvidenceKind::Refused));
                        let failure = Failure::Backend(EvidenceKind::Refused);
                        client.contest.fail(attempt, failure, &self.shared, now);
                    }
                }
            }
            Event::Speaks(attempt) => {
                let seen = &mut client.attempts[attempt];
                let speech = match self.plan.backends[seen.backend].conduct {
                    Conduct::Answers(_) | Conduct::Greets(_) => Speech::Bytes,
                    Conduct::Ends(_) | Conduct::EndsUnasked(_) => Speech::End,
                    _ => Speech::Reset,
                };
                if seen.stage != Stage::Connected {
                    return;
                }
                seen.speech = Some(speech);
                client.contest.event(
                    attempt,
                    match speech {
                        Speech::Bytes => EventFlags::IN,
                        Speech::End => EventFlags::IN | EventFlags::RDHUP,
                        Speech::Reset => EventFlags::IN | EventFlags::RDHUP | EventFlags::ERR,
                    },
                );
            }
            Event::HasRoom(attempt) => {
                let seen = &mut client.attempts[attempt];
                if seen.stage != Stage::Connected {
                    return;
                }
                seen.room = self.plan.backends[seen.backend].room;
                client.contest.event(attempt, EventFlags::OUT);
            }
            Event::Deadline => client.contest.deadline(now),
        }
        self.run(number);
    }

    /// Schedules what a client does by itself.
    fn announce(&mut self, number: usize) {
        let plan = self.clients[number].plan.clone();
        let mut at = 0;
        for (pause, length) in plan.pieces {
            at += pause;
            self.after(at, number, Event::Says(length));
        }
        match plan.leaves {
            Leaves::Ends(pause) | Leaves::Resets(pause) => {
                self.after(at + pause, number, Event::Leaves);
            }
            Leaves::Never => {}
        }
        for alarm in plan.alarms {
            self.after(alarm, number, Event::Deadline);
        }
    }

    /// Does what the contest asks for, until it waits or is over.
    fn run(&mut self, number: usize) {
        loop {
            self.steps += 1;
            assert!(self.steps < 100_000, "it never comes to an end");
            let expected = self.expected_pick(number);
            let now = self.time();
            let client = &mut self.clients[number];
            match client.contest.next(&self.shared, now) {
                Step::Connect { attempt, address } => {
                    assert_eq!(attempt, client.attempts.len());
                    let picked = self.position(address);
                    assert!(expected.contains(&picked), "{picked} of {expected:?}");
                    self.connect(number, attempt, picked);
                }
                Step::Introduce { attempt } => {
                    let seen = client.connected(attempt);
                    assert!(!seen.introduced && seen.got.is_empty());
                    seen.introduced = true;
                    client.contest.introduced(attempt, &self.shared, now);
                }
                Step::Hear => self.hear(number),
                Step::Listen { attempt } => self.listen(number, attempt),
                Step::Send { attempt } => self.send(number, attempt),
                Step::End { attempt } => {
                    let read = client.read;
                    assert!(client.ended && client.said == read);
                    let seen = client.connected(attempt);
                    assert!(!seen.told_end && seen.got.len() == read);
                    seen.told_end = true;
                }
                Step::Settle { attempt } => {
                    let seen = client.connected(attempt);
                    assert!(!seen.settled, "the options are set once");
                    seen.settled = true;
                }
                Step::Close { line, by_reset } => self.close(number, line, by_reset),
                Step::Arm(deadline) => {
                    // Never too early, as the timers of a thread.
                    let at = (deadline - self.start).as_nanos().div_ceil(1_000) as u64;
                    self.at(at.max(self.now), number, Event::Deadline);
                }
                Step::Wait => {
                    if client.contest.has_connected() && !client.watched {
                        client.watched = true;
                        // An edge-triggered watch tells at once of what is there (epoll(7)).
                        client.notice();
                        continue;
                    }
                    return self.check_patience(number);
                }
                Step::Over(verdict) => return self.finish(number, verdict),
            }
        }
    }

    /// The backends that the next attempt of a client may be made at.
    fn expected_pick(&self, number: usize) -> Vec<usize> {
        let client = &self.clients[number];
        let usable = self.shared.backends.usable();
        let now = self.shared.since_start(self.time());
        let tried = |backend: usize| {
            // One that another was quicker than has not failed.
            client.attempts.iter().any(|it| it.backend == backend && (it.failed || it.is_open()))
        };
        let untried: Vec<_> = (0..usable.len()).filter(|&it| !tried(it)).collect();
        let (suspect, good): (Vec<_>, Vec<_>) =
            untried.into_iter().partition(|&it| usable[it].is_suspect(now));
        let among = if good.is_empty() { suspect } else { good };
        match self.plan.choice {
            Choice::RoundRobin if among.is_empty() => among,
            Choice::RoundRobin => vec![among[client.turn % among.len()]],
            Choice::LeastConnections => {
                let least = among.iter().map(|&it| usable[it].load()).min();
                among.into_iter().filter(|&it| Some(usable[it].load()) == least).collect()
            }
        }
    }

    fn position(&self, of: SocketAddr) -> usize {
        (0..self.plan.backends.len()).find(|&it| address(it) == of).expect("a backend")
    }

    fn connect(&mut self, number: usize, attempt: usize, backend: usize) {
        let (now, temper) = (self.time(), self.plan.backends[backend]);
        let mut seen = Seen::new(backend, temper.room, self.now);
        let line = match temper.connect {
            Connect::FailsAtOnce(failure) => {
                // For want of descriptors, the backend may be tried again.
                seen.failed = failure != Failure::Descriptors;
                seen.stage = Stage::Closed;
                if let Failure::Backend(kind) = failure {
                    self.faults.push((backend, kind));
                }
                Err(failure)
            }
            Connect::Accepts(after) | Connect::Refuses(after) => {
                self.after(after, number, Event::Connects(attempt));
                Ok(attempt)
            }
            Connect::Never => Ok(attempt),
        };
        let client = &mut self.clients[number];
        client.attempts.push(seen);
        client.contest.begun(attempt, line, &self.shared, now);
    }

    fn hear(&mut self, number: usize) {
        let (now, most) = (self.time(), self.plan.read);
        let client = &mut self.clients[number];
        assert!(client.contest.has_connected(), "nobody to tell it");
        let there = &client.plan.says[client.read..client.said];
        let bytes = &there[..there.len().min(most)];
        let reading = match () {
            () if client.reset => Reading::Broken,
            () if !bytes.is_empty() => Reading::Bytes { bytes, short: bytes.len() < most },
            () if client.ended => Reading::End,
            () => Reading::Nothing,
        };
        client.read += bytes.len();
        client.contest.heard(reading, &self.shared, now);
    }

    fn listen(&mut self, number: usize, attempt: usize) {
        let now = self.time();
        let client = &mut self.clients[number];
        let read = client.read;
        let seen = client.connected(attempt);
        let answer = match seen.speech.take() {
            Some(Speech::Bytes) => Answer::Bytes { length: ANSWER, short: true },
            Some(Speech::End) => Answer::End,
            Some(Speech::Reset) => Answer::Broken,
            None => Answer::Nothing,
        };
        if answer == Answer::Broken || (answer == Answer::End && read > 0) {
            seen.failed = true;
            self.faults.push((seen.backend, EvidenceKind::ResetBeforeFirstByte));
        }
        client.contest.answered(attempt, answer, &self.shared, now);
    }

    fn send(&mut self, number: usize, attempt: usize) {
        let now = self.time();
        let introduces = self.plan.introduces;
        let client = &mut self.clients[number];
        let unsent = client.contest.unsent(attempt).to_vec();
        assert!(!unsent.is_empty());
        let seen = client.connected(attempt);
        assert_eq!(seen.introduced, introduces);
        let sent = match () {
            () if seen.speech == Some(Speech::Reset) => Sent::Broken,
            () if seen.room == 0 => Sent::NoRoom,
            () => Sent::Bytes(unsent.len().min(seen.room)),
        };
        let (backend, mut asked) = (seen.backend, false);
        match sent {
            Sent::Bytes(length) => {
                seen.room -= length;
                seen.got.extend(&unsent[..length]);
                asked = seen.got == HELLO;
                seen.asked = asked.then_some(self.now);
            }
            Sent::NoRoom => self.after(1, number, Event::HasRoom(attempt)),
            Sent::Broken => {
                seen.failed = true;
                self.faults.push((backend, EvidenceKind::ResetBeforeFirstByte));
            }
        }
        let client = &mut self.clients[number];
        let says = &client.plan.says;
        assert!(says.starts_with(&client.attempts[attempt].got), "lost, repeated or out of order");
        client.contest.sent(attempt, sent, &self.shared, now);
        if let (true, Conduct::Answers(after) | Conduct::Resets(after) | Conduct::Ends(after)) =
            (asked, self.plan.backends[backend].conduct)
        {
            self.after(after, number, Event::Speaks(attempt));
        }
    }

    fn close(&mut self, number: usize, line: Line, by_reset: bool) {
        let timeout = self.shared.settings.connect_timeout.as_micros() as u64;
        let seen = &mut self.clients[number].attempts[line];
        assert!(seen.is_open(), "closed twice");
        let was = std::mem::replace(&mut seen.stage, Stage::Closed);
        let lasted = self.now - seen.begun;
        if was == Stage::Connecting {
            assert!(lasted <= timeout, "it was connecting for {lasted} µs");
        }
        if !by_reset && !seen.failed {
            assert!(was == Stage::Connecting && lasted == timeout, "given up after {lasted} µs");
            seen.failed = true;
            self.faults.push((seen.backend, EvidenceKind::ConnectTimeout));
        }
    }

    /// Nobody waits longer than the settings say.
    fn check_patience(&self, number: usize) {
        let client = &self.clients[number];
        let settings = &self.shared.settings;
        let open = client.attempts.iter().filter(|it| it.is_open());
        for seen in open.clone().filter(|it| it.stage == Stage::Connecting) {
            let since = self.now - seen.begun;
            assert!(since <= settings.connect_timeout.as_micros() as u64, "a timeout was missed");
        }
        assert!(open.clone().count() > 0, "it waits for nobody");
        // What others were answered meanwhile prolongs it, so that this holds for one alone.
        let patience = settings.hedge_after.as_micros() as u64;
        let late = |it: &Seen| it.asked.is_some_and(|asked| self.now > asked + patience);
        // Nor does it for want of descriptors.
        let starves = |it: &Temper| it.connect == Connect::FailsAtOnce(Failure::Descriptors);
        if self.plan.backends.iter().any(starves) {
            return;
        }
        if self.clients.len() == 1 && open.clone().any(late) && open.clone().all(late) {
            let tried = |backend| client.attempts.iter().any(|it| it.backend == backend);
            assert!((0..self.plan.backends.len()).all(tried), "somebody else was not asked");
        }
    }

    fn finish(&mut self, number: usize, verdict: Verdict) {
        let now = self.time();
        let client = &mut self.clients[number];
        client.verdict = Some((self.now, verdict));
        client.winner = client.contest.winner();
        assert!(client.contest.winner().is_none(), "two winners");
        let again = client.contest.next(&self.shared, now);
        assert_eq!(again, Step::Over(verdict), "it is over for good");
        assert_eq!(client.contest.lines().count(), 0);
    }
}
