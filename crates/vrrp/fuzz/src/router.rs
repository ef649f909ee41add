use std::net::IpAddr;
use std::time::Duration;

use vrrp::{
    Action, Advertisement, Authentication, Checksum, ChecksumChoice, Datagram, Instant, Lead,
    Settings, State, Version, VirtualRouter,
};

/// Drives a router with whatever the bytes say, and looks after every call whether it still makes
/// sense.
pub(crate) fn run(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut driver = Driver::new(settings(&mut bytes));
    while !bytes.0.is_empty() {
        driver.step(&mut bytes);
        driver.look();
    }
}

/// The input, read from the front; zeros when it has ended.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.next(), self.next()])
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

const OWN: &str = "10.5.0.2";
const OTHERS: [&str; 4] = ["10.5.0.1", "10.5.0.3", "10.5.0.4", OWN];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address as above")
}

/// Any that pass the check: version, delays, checksum and mode by the bits of the first byte.
fn settings(bytes: &mut Bytes<'_>) -> Settings {
    let (bits, priority, interval) = (bytes.next(), bytes.next(), bytes.word());
    let has = |bit: u8| bits & (1 << bit) != 0;
    let (version, authentication, interval) = match has(0) {
        false => {
            let interval = Duration::from_secs(u64::from(interval % 255) + 1);
            (Version::V2, Authentication::password("secret12"), interval)
        }
        true => {
            let interval = Duration::from_millis((u64::from(interval % 4095) + 1) * 10);
            (Version::V3, Authentication::None, interval)
        }
    };
    let delay = |bit| if has(bit) { interval * 7 } else { Duration::ZERO };
    let settings = Settings {
        virtual_router_id: 51,
        version,
        priority: priority.max(1),
        interval,
        preempt: !has(1),
        preempt_delay: delay(2),
        startup_delay: delay(3),
        authentication,
        checksum: match has(4) {
            false => ChecksumChoice::Auto,
            true => ChecksumChoice::Fixed(Checksum::MessageOnly),
        },
        source: ip(OWN),
        unicast_peers: if has(5) { vec![ip(OTHERS[0]), ip(OTHERS[1])] } else { vec![] },
        addresses: vec![ip("10.5.0.100")],
    };
    assert_eq!(settings.check(), Ok(()));
    settings
}

struct Driver {
    router: VirtualRouter,
    now: Instant,
    state: State,
    holds: bool,
    transitions: u64,
    lead: Option<Lead>,
}

/// No call has a reason to want more than this done.
const MOST_ACTIONS: usize = 8;

/// Longer than three of the longest intervals (version 2, 255 s) and their skew.
const LONGEST_WAIT: Duration = Duration::from_secs(800);

impl Driver {
    fn new(settings: Settings) -> Self {
        let now = Instant::new(Duration::from_secs(1_000));
        let mut driver = Self {
            router: VirtualRouter::new(settings, now),
            now,
            state: State::Initialize,
            holds: false,
            transitions: 0,
            lead: None,
        };
        driver.router.start(now);
        driver.look();
        driver
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now;
        match bytes.next() % 16 {
            0 => self.now = now + Duration::from_millis(bytes.word().into()),
            1 => self.now = now + Duration::from_secs(u64::from(bytes.next()) * 10),
            2 => {
                self.now = self.router.next_deadline().map_or(now, |deadline| deadline.max(now));
                self.router.handle_timeout(self.now);
            }
            3 => self.router.handle_timeout(now),
            4 => self.hear_advertisement(bytes),
            5 => self.hear_anything(bytes),
            6 => self.router.set_ready(now, bytes.next() & 1 != 0),
            7 => self.router.set_tracking(now, bytes.word() as i16),
            8 => self.router.set_link(now, bytes.next() & 1 != 0),
            9 => {
                let known = usize::from(bytes.next()) % (OTHERS.len() + 1);
                self.router.set_peers(OTHERS[..known].iter().map(|other| ip(other)).collect());
            }
            10 => self.router.hand_over(now, Duration::from_millis(bytes.word().into())),
            11 => self.router.reconfigure(now, settings(bytes)),
            12 => {
                let leads = [None, Some(Lead::Active), Some(Lead::Backup), Some(Lead::Undecided)];
                self.lead = leads[usize::from(bytes.next()) % leads.len()];
                self.router.set_lead(now, self.lead);
            }
            13 => self.router.advertise_now(now),
            14 => self.succeed(),
            _ if bytes.next() & 1 != 0 => self.router.start(now),
            _ => self.router.stop(now),
        }
    }

    /// Another process goes on, and does what this one would.
    fn succeed(&mut self) {
        let successor = VirtualRouter::resume(self.router.estate());
        assert_eq!(successor.outlook(self.now), self.router.outlook(self.now));
        self.router = successor;
        self.transitions = 0;
    }

    /// One that is right but for what the bytes say.
    fn hear_advertisement(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, priority) = (bytes.next(), bytes.next());
        let ours = self.router.settings();
        let mut advertisement = Advertisement {
            version: ours.version,
            virtual_router_id: 51,
            priority,
            interval: ours.interval,
            authentication: ours.authentication,
            addresses: ours.addresses.clone(),
        };
        match bits >> 4 {
            1 => advertisement.interval = Duration::from_millis(u64::from(bytes.word()) * 10),
            2 => advertisement.addresses = vec![ip("10.5.0.200")],
            3 => advertisement.authentication = Authentication::password("other"),
            4 => advertisement.virtual_router_id = 52,
            _ => {}
        }
        let checksum = [Checksum::PseudoHeader, Checksum::MessageOnly][usize::from(bits >> 3 & 1)];
        let (source, destination) = self.way(bits);
        let payload = advertisement.emit(source, destination, checksum);
        self.hear(source, destination, &payload);
    }

    fn hear_anything(&mut self, bytes: &mut Bytes<'_>) {
        let (bits, count) = (bytes.next(), bytes.next());
        let payload = bytes.take(count.into());
        let (source, destination) = self.way(bits);
        self.hear(source, destination, &payload);
    }

    fn way(&self, bits: u8) -> (IpAddr, IpAddr) {
        let destination = if bits & 4 == 0 { "224.0.0.18" } else { OWN };
        (ip(OTHERS[usize::from(bits & 3)]), ip(destination))
    }

    fn hear(&mut self, source: IpAddr, destination: IpAddr, payload: &[u8]) {
        let datagram = Datagram { source, destination, hop_limit: 255, payload };
        let before = self.router.counters().clone();
        let taken = self.router.handle_datagram(self.now, &datagram);
        let after = self.router.counters();
        let dropped = |dropped: &vrrp::Counters| dropped.dropped.values().sum::<u64>();
        assert_eq!(after.received - before.received, u64::from(taken.is_ok()));
        assert_eq!(dropped(after) - dropped(&before), u64::from(taken.is_err()));
    }

    fn look(&mut self) {
        self.perform();
        let Self { router, now, .. } = self;
        assert_eq!(router.state(), self.state);
        assert_eq!(self.holds, self.state == State::Active);
        assert!(router.priority() >= 1);
        assert!(router.foreign().count() <= 32 && router.peers().heard().count() <= 255);
        let led = matches!(self.lead, Some(Lead::Backup | Lead::Undecided));
        let claims = self.state == State::Backup && !led;
        assert_eq!(router.next_claim().is_some(), claims);
        // Beside a foreign router a 25th later at most.
        let interval = router.settings().interval * 26 / 25;
        match (self.state, router.next_deadline()) {
            (State::Initialize, deadline) => {
                assert!(deadline.is_none_or(|deadline| deadline <= *now + LONGEST_WAIT * 3));
            }
            (State::Backup, None) => assert!(!claims),
            (State::Backup, deadline) => {
                assert!(deadline.is_some_and(|deadline| deadline <= *now + LONGEST_WAIT));
            }
            (State::Active, deadline) => {
                assert!(deadline.is_some_and(|deadline| deadline <= *now + interval));
            }
        }
        self.rest();
    }

    /// What is due is done after a few calls: nothing wakes the caller for ever.
    fn rest(&self) {
        let mut rested = self.router.clone();
        for _ in 0..4 {
            if rested.next_deadline().is_none_or(|deadline| deadline > self.now) {
                return;
            }
            rested.handle_timeout(self.now);
        }
        panic!("due again and again: {rested:?}");
    }

    fn perform(&mut self) {
        let before = self.transitions;
        for _ in 0..MOST_ACTIONS {
            let Some(action) = self.router.poll_action() else {
                let at_once = self.transitions - before;
                assert!(at_once <= 2, "{at_once} transitions at once");
                assert_eq!(self.router.counters().transitions, self.transitions);
                return;
            };
            match action {
                Action::Advertise(advertisement) => self.check(&advertisement),
                Action::Hold => assert!(!std::mem::replace(&mut self.holds, true)),
                Action::Release => assert!(std::mem::replace(&mut self.holds, false)),
                Action::Announce => assert!(self.holds),
                Action::Transition(transition) => {
                    self.transitions += 1;
                    assert_eq!(transition.from, self.state);
                    assert_ne!(transition.from, transition.to);
                    assert_eq!(transition.at, self.now);
                    assert!(!transition.reason.to_string().is_empty());
                    self.state = transition.to;
                }
            }
        }
        panic!("more than {MOST_ACTIONS} actions at once");
    }

    /// What is sent can be read.
    fn check(&self, advertisement: &Advertisement) {
        let (source, group) = (ip(OWN), ip("224.0.0.18"));
        let packet = advertisement.emit(source, group, self.router.checksum());
        let read = Advertisement::parse(&packet, source, group);
        assert_eq!(read.map(|(read, _)| read).as_ref(), Ok(advertisement));
    }
}
