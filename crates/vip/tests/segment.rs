//! Speakers on a real segment: network namespaces joined by veth, witnessed by tcpdump and
//! iproute2. Needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use kernel::link::{self, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::netns::{Namespace, add_address, create_veth, set_up};
use vip::{Event, Instance, Service, Settings, Vip};
use vrrp::State;

const VIP: &str = "10.5.0.100";

/// Two hosts, 10.5.0.1 and 10.5.0.2, joined by a cable.
struct Segment {
    hosts: [Namespace; 2],
}

#[derive(Default)]
struct Fake {
    dead: AtomicBool,
}

impl Service for Fake {
    fn alive(&self) -> bool {
        !self.dead.load(Relaxed)
    }

    fn released(&self, _: &[IpAddr]) {}
}

struct Speaker {
    vip: Vip,
    events: Receiver<Event>,
    service: Arc<Fake>,
}

impl Segment {
    fn new() -> Self {
        let hosts = [(); 2].map(|()| Namespace::new().expect("needs root for network namespaces"));
        hosts[0].run(|| create_veth("eth0", "eth0", &hosts[1])).unwrap().unwrap();
        for (number, host) in hosts.iter().enumerate() {
            let address = format!("10.5.0.{}/24", number + 1).parse().unwrap();
            host.run(|| {
                add_address("eth0", &address).unwrap();
                set_up("eth0").unwrap();
            })
            .unwrap();
        }
        Self { hosts }
    }

    fn speaker(&self, host: usize, password: &str) -> Speaker {
        let router = vrrp::Settings {
            virtual_router_id: 51,
            version: vrrp::Version::V2,
            priority: 100,
            interval: Duration::from_secs(1),
            preempt: true,
            authentication: vrrp::Authentication::password(password),
            checksum: vrrp::Checksum::default(),
            source: format!("10.5.0.{}", host + 1).parse().unwrap(),
            unicast_peers: vec![],
            addresses: vec![VIP.parse().unwrap()],
        };
        let service = Arc::new(Fake::default());
        let (sender, events) = mpsc::channel();
        let start = || {
            let mut socket = Socket::open(Protocol::Route).unwrap();
            let link = link::find(&mut socket, &Selector::Name("eth0".into())).unwrap();
            let address = VirtualAddress { address: VIP.parse().unwrap(), prefix_length: 24 };
            let instance = Instance { name: "test".into(), link, router, addresses: vec![address] };
            let settings = Settings {
                instances: vec![instance],
                lifetime: Settings::DEFAULT_LIFETIME,
                realtime: true,
            };
            let service = Arc::clone(&service);
            Vip::start(settings, service, Arc::new(move |event| drop(sender.send(event)))).unwrap()
        };
        let vip = self.hosts[host].run(start).unwrap();
        Speaker { vip, events, service }
    }

    fn spawn(&self, host: usize, command: &[&str]) -> Child {
        let mut spawned = Command::new(command[0]);
        spawned.args(&command[1..]).stdout(Stdio::piped()).stderr(Stdio::null());
        self.hosts[host].spawn(spawned).unwrap()
    }

    fn output(&self, host: usize, command: &[&str]) -> String {
        let output = self.spawn(host, command).wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn holds(&self, host: usize) -> bool {
        self.output(host, &["ip", "-4", "-oneline", "address", "show", "dev", "eth0"]).contains(VIP)
    }

    fn mac(&self, host: usize) -> String {
        let shown = self.output(host, &["ip", "-oneline", "link", "show", "dev", "eth0"]);
        let mac = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        mac.unwrap().replace(':', "")
    }
}

impl Speaker {
    fn state(&self) -> State {
        self.vip.status().instances[0].state
    }
}

fn wait_for(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "in vain for {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn on_the_wire_it_is_keepalived() {
    let segment = Segment::new();
    let capture = segment.spawn(
        1,
        &["timeout", "20", "tcpdump", "-l", "-n", "-i", "eth0", "-xx", "-c", "4", "ip proto 112 or (arp and arp[6:2] == 1 and ether[6:4] != 0 and arp[14:4] == 0x0a050064)"],
    );
    std::thread::sleep(Duration::from_millis(500));
    let speaker = segment.speaker(0, "secret12");
    let output = capture.wait_with_output().unwrap();
    drop(speaker);
    let frames = frames(&String::from_utf8(output.stdout).unwrap());
    let mac = segment.mac(0);

    // From vectors/cap.v2.pcap: whole frames of keepalived 2.2.7 with the same settings.
    let advertisement = |ip_header: &str| {
        format!(
            "01005e000012{mac}0800{ip_header}0a050001e000001221336401010101e30a0500647365637265743132"
        )
    };
    let announcement =
        format!("ffffffffffff{mac}08060001080006040001{mac}0a050064ffffffffffff0a050064");
    assert_eq!(
        frames,
        [
            advertisement("45c0002800010000ff70d08c"),
            announcement.clone(),
            announcement,
            advertisement("45c0002800020000ff70d08b"),
        ]
    );
}

#[test]
fn one_of_two_holds_the_address_and_hands_it_over() {
    let segment = Segment::new();
    let (first, second) = (segment.speaker(0, "secret"), segment.speaker(1, "secret"));
    wait_for("a holder", 6, || [&first, &second].iter().any(|s| s.state() == State::Active));
    std::thread::sleep(Duration::from_millis(200));
    assert_ne!(segment.holds(0), segment.holds(1), "exactly one");
    let (holder, heir) = if segment.holds(0) { (first, second) } else { (second, first) };

    holder.vip.hand_over(Duration::from_secs(5));
    let ended = std::iter::from_fn(|| holder.events.recv_timeout(Duration::from_secs(5)).ok())
        .any(|event| matches!(event, Event::Ended(Ok(()))));
    assert!(ended);
    assert_eq!(heir.state(), State::Active);
    let reason = holder.vip.status().instances[0].transitions.last().unwrap().transition.reason;
    assert!(matches!(reason, vrrp::Reason::HandedOver(_)), "{reason}");
}

#[test]
fn an_address_taken_away_by_somebody_is_back_within_100_milliseconds() {
    let segment = Segment::new();
    let speaker = segment.speaker(0, "secret");
    wait_for("the address", 6, || segment.holds(0));
    segment.output(0, &["ip", "address", "delete", "10.5.0.100/24", "dev", "eth0"]);
    let took = wait_for("the address to be back", 2, || segment.holds(0));
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(speaker.state(), State::Active);
    assert_eq!(speaker.vip.status().instances[0].counters.became_active, 1);
}

#[test]
fn a_silent_service_loses_the_address_and_gets_it_back() {
    let segment = Segment::new();
    let speaker = segment.speaker(0, "secret");
    wait_for("the address", 6, || segment.holds(0));
    speaker.service.dead.store(true, Relaxed);
    wait_for("the address to be gone", 4, || !segment.holds(0));
    assert_eq!(speaker.vip.status().instances[0].priority, (50, 100));
    speaker.service.dead.store(false, Relaxed);
    wait_for("the address to be back", 2, || segment.holds(0));
}

#[test]
fn a_stranger_with_the_address_is_respected() {
    let segment = Segment::new();
    segment.output(1, &["ip", "address", "add", "10.5.0.100/24", "dev", "eth0"]);
    let speaker = segment.speaker(0, "secret");
    let refusal = std::iter::from_fn(|| speaker.events.recv_timeout(Duration::from_secs(6)).ok())
        .find_map(|event| match event {
            Event::Ended(Err(error)) => Some(error.to_string()),
            _ => None,
        });
    let mac = segment.mac(1);
    let mac: Vec<&str> = (0..6).map(|i| &mac[2 * i..2 * i + 2]).collect();
    let expected = format!("10.5.0.100 is already answered by {} on eth0", mac.join(":"));
    assert!(refusal.as_deref().unwrap_or_default().starts_with(&expected), "{refusal:?}");
    assert!(!segment.holds(0));
}

#[test]
fn another_password_is_told_about_once() {
    let segment = Segment::new();
    let one = segment.speaker(0, "secret");
    wait_for("the address", 6, || segment.holds(0));
    // The second hears packets it drops, so nobody is heard, yet the address is answered.
    let other = segment.speaker(1, "public");
    std::thread::sleep(Duration::from_secs(3));
    let told: Vec<String> = other
        .events
        .try_iter()
        .filter_map(|event| match event {
            Event::Dropped { source, reason, .. } => Some(format!("{source} {}", reason.label())),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["10.5.0.1 password"]);
    drop((one, other));
}

/// The frames of tcpdump's hexadecimal dump.
fn frames(dump: &str) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in dump.lines() {
        match line.trim_start().strip_prefix("0x") {
            Some(bytes) => {
                let bytes = bytes.split_once(':').unwrap().1;
                frames.last_mut().unwrap().extend(bytes.split_whitespace());
            }
            None => frames.push(String::new()),
        }
    }
    frames
}
