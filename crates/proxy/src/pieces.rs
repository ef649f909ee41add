//! The inner pieces, each ready to be run again and again: for `benches/pieces.rs` alone.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::contest::{Answer, Contest, Sent, Step, Verdict};
use crate::hello::FirstBytes;
use crate::histogram::Histogram;
use crate::pick::{Among, Standing, pick, pick_least};
use crate::proxy_protocol::ProxyProtocol;
use crate::question::Reading;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::timers::Timers;

/// A name, and what to run.
pub type Piece = (&'static str, Box<dyn FnMut()>);

/// All of them, for clients that begin with `hello`.
pub fn pieces(hello: &'static [u8]) -> Vec<Piece> {
    vec![
        ("pick in turn among 3", in_turn()),
        ("pick the least loaded of 3", least_loaded()),
        ("count a latency", latency()),
        (
            "recognize a ClientHello",
            Box::new(move || {
                black_box(FirstBytes::of(black_box(hello)));
            }),
        ),
        ("a client from turn to winner", contest(hello)),
        ("a deadline among 10,000", deadline()),
        ("PROXY header, text", header(ProxyProtocol::V1)),
        ("PROXY header, binary", header(ProxyProtocol::V2)),
    ]
}

fn in_turn() -> Box<dyn FnMut()> {
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        black_box(pick(turn, black_box(3), Among::All, |_| Standing::Good));
    })
}

fn least_loaded() -> Box<dyn FnMut()> {
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let load = |index: usize| black_box([7, 3, 5])[index];
        black_box(pick_least(turn, 3, Among::All, |_| Standing::Good, load));
    })
}

fn latency() -> Box<dyn FnMut()> {
    let (histogram, mut micros) = (Histogram::default(), 0);
    Box::new(move || {
        micros = (micros + 997) % 2_000_000;
        histogram.record(black_box(Duration::from_micros(micros)));
    })
}

/// All decisions about one client, with backends that accept and answer at once.
fn contest(hello: &'static [u8]) -> Box<dyn FnMut()> {
    let shared = Shared::new(Settings::default(), 1, Vec::new(), Vec::new());
    let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 6443));
    shared.backends.replace(&[address(1), address(2), address(3)]);
    let (mut turn, now) = (0, Instant::now());
    Box::new(move || {
        turn += 1;
        let mut contest = Contest::new(shared.backends.usable(), turn);
        loop {
            match contest.next(&shared, now) {
                Step::Connect { attempt, .. } => contest.begun(attempt, Ok(()), &shared, now),
                Step::Hear => {
                    contest.heard(Reading::Bytes { bytes: hello, short: true }, &shared, now);
                }
                Step::Send { attempt } => {
                    contest.sent(attempt, Sent::Bytes(hello.len()), &shared, now);
                }
                Step::Wait if contest.has_connected() => contest.event(0, EventFlags::IN),
                Step::Wait => contest.connected(0, EventFlags::OUT, &shared, now),
                Step::Listen { attempt } => {
                    let answer = Answer::Bytes { length: 1_000, short: true };
                    contest.answered(attempt, answer, &shared, now);
                }
                Step::Over(Verdict::Decided { .. }) => {
                    black_box(contest.winner());
                    return;
                }
                _ => {}
            }
        }
    })
}

fn deadline() -> Box<dyn FnMut()> {
    let (mut timers, mut now) = (Timers::new(), Instant::now());
    for number in 0..10_000_u64 {
        timers.push(now + Duration::from_micros(number), number);
    }
    Box::new(move || {
        now += Duration::from_micros(1);
        while let Some(number) = timers.pop_due(now) {
            timers.push(now + Duration::from_millis(10), number);
        }
    })
}

fn header(version: ProxyProtocol) -> Box<dyn FnMut()> {
    let source = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let destination = SocketAddr::from(([192, 0, 2, 2], 6_443));
    Box::new(move || {
        black_box(version.header(black_box(source), black_box(destination)));
    })
}
