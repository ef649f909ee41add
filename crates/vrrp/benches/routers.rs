//! What ten thousand virtual routers cost: how long until they were all driven once.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use vrrp::packet::group;
use vrrp::{
    Action, Authentication, ChecksumChoice, Datagram, Instant, Settings, State, Version,
    VirtualRouter,
};

const PAIRS: usize = 5_000;
const INTERVAL: Duration = Duration::from_secs(1);

/// An Active router and its Backup.
struct Pair {
    active: VirtualRouter,
    backup: VirtualRouter,
}

fn router(last: u8, priority: u8, now: Instant) -> VirtualRouter {
    let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let settings = Settings {
        virtual_router_id: 51,
        version: Version::V2,
        priority,
        interval: INTERVAL,
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        authentication: Authentication::password("BuyK0s"),
        checksum: ChecksumChoice::Auto,
        source: address(last),
        unicast_peers: vec![],
        addresses: vec![address(100)],
    };
    let mut router = VirtualRouter::new(settings, now);
    router.start(now);
    router
}

impl Pair {
    fn new(now: Instant) -> Self {
        let mut pair = Self { active: router(1, 255, now), backup: router(2, 100, now) };
        pair.step(now);
        pair
    }

    /// One advertisement, sent and heard.
    fn step(&mut self, now: Instant) {
        self.active.handle_timeout(now);
        while let Some(action) = self.active.poll_action() {
            let Action::Advertise(advertisement) = action else { continue };
            let source = self.active.settings().source;
            let payload = advertisement.emit(source, group(source), self.active.checksum());
            let destination = group(source);
            let datagram = Datagram { source, destination, hop_limit: 255, payload: &payload };
            assert_eq!(self.backup.handle_datagram(now, &datagram), Ok(()));
        }
        self.backup.handle_timeout(now);
        while self.backup.poll_action().is_some() {}
    }
}

fn routers(criterion: &mut Criterion) {
    let mut now = Instant::new(Duration::from_secs(1_000));
    let mut pairs: Vec<Pair> = (0..PAIRS).map(|_| Pair::new(now)).collect();
    let mut group = criterion.benchmark_group("interval");
    group.throughput(Throughput::Elements(2 * PAIRS as u64));
    group.bench_function("10000 routers", |bencher| {
        bencher.iter(|| {
            now = now + INTERVAL;
            for pair in &mut pairs {
                pair.step(now);
            }
            black_box(&pairs);
        });
    });
    group.finish();
    assert!(pairs.iter().all(|pair| pair.backup.state() == State::Backup));
}

criterion_group!(benches, routers);
criterion_main!(benches);
