//! Connections whose two ends send, read, pause and end as they like, both ways at once: every byte
//! arrives, told by its hash, and each end after its last one.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{backend, connect_to, eventually, proxy_with};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proxy::Settings;

/// What one end does, in this order; then its half of the connection ends.
#[derive(Clone, Debug)]
struct Part {
    writes: Vec<(usize, u64)>,
    /// At most so many bytes at once, and the pause after each read.
    reads: (usize, u64),
    /// It ends its half only after the other one's end.
    last: bool,
}

fn part() -> impl Strategy<Value = Part> {
    let sizes = prop_oneof![2 => 1..20_usize, 3 => 1..10_000_usize, 2 => 1..2_000_000_usize];
    let pause = || prop_oneof![6 => Just(0), 1 => 1..3_u64];
    let reads = (prop_oneof![1 => 1_000..5_000_usize, 3 => 5_000..300_000_usize], pause());
    (vec((sizes, pause()), 0..8), reads, any::<bool>()).prop_map(|(writes, reads, last)| Part {
        writes,
        reads,
        last,
    })
}

/// The two of a connection: one at least does not wait for the other one's end.
fn parts() -> impl Strategy<Value = [Part; 2]> {
    [part(), part()].prop_map(|[client, mut server]| {
        server.last &= !client.last;
        [client, server]
    })
}

/// How much, and its hash (FNV-1a, which does not care how bytes are cut into pieces).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(usize, u64);

impl Bytes {
    const NONE: Self = Self(0, 0xcbf2_9ce4_8422_2325);

    fn add(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        *self = Self(self.0 + bytes.len(), bytes.iter().fold(self.1, step));
    }
}

/// Plays a part; what was sent and what was got.
fn play(part: &Part, stream: &TcpStream, seed: u64) -> [Bytes; 2] {
    let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    thread::scope(|scope| {
        let got = scope.spawn(move || {
            let (mut got, mut buffer) = (Bytes::NONE, vec![0; part.reads.0]);
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => return got,
                    length => got.add(&buffer[..length]),
                }
                thread::sleep(Duration::from_millis(part.reads.1));
            }
        });
        let (mut sent, mut state) = (Bytes::NONE, seed | 1);
        for (size, pause) in &part.writes {
            // Marsaglia's xorshift: no two pieces look alike.
            let next = |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            };
            let bytes: Vec<u8> = (0..*size).map(next).collect();
            writer.write_all(&bytes).unwrap();
            sent.add(&bytes);
            thread::sleep(Duration::from_millis(*pause));
        }
        let end = || writer.shutdown(Shutdown::Write).unwrap();
        if part.last {
            let got = got.join().unwrap();
            end();
            return [sent, got];
        }
        end();
        [sent, got.join().unwrap()]
    })
}

/// A backend that plays the parts it is given, each for the client that says its number; and what
/// came of them.
fn stage(parts: Arc<Mutex<Vec<Part>>>) -> (SocketAddr, Receiver<(usize, [Bytes; 2])>) {
    let (sender, outcomes) = channel();
    let sender = Mutex::new(sender);
    let address = backend(move |mut stream| {
        let mut number = [0];
        stream.read_exact(&mut number).unwrap();
        let number = usize::from(number[0]);
        let part = parts.lock().unwrap()[number].clone();
        let outcome = play(&part, &stream, 0xbac0 + number as u64);
        sender.lock().unwrap().send((number, outcome)).unwrap();
    });
    (address, outcomes)
}

#[test]
fn what_is_sent_is_what_arrives() {
    let servers_parts = Arc::<Mutex<Vec<Part>>>::default();
    let (address, outcomes) = stage(Arc::clone(&servers_parts));
    // With few pipes, some connections have one and others copy.
    let handle = proxy_with(Settings { pipes: 1, ..Settings::default() }, &[address]);
    let config = Config { cases: 25, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(parts(), 1..12), |plays| {
            *servers_parts.lock().unwrap() =
                plays.iter().map(|[_, server]| server.clone()).collect();
            let clients: Vec<[Bytes; 2]> = thread::scope(|scope| {
                let play = |(number, [client, _]): (usize, &[Part; 2])| {
                    let client = client.clone();
                    let address = handle.listening()[0];
                    scope.spawn(move || {
                        let mut stream = connect_to(address);
                        stream.set_read_timeout(Some(6 * common::LONG)).unwrap();
                        stream.set_write_timeout(Some(6 * common::LONG)).unwrap();
                        stream.write_all(&[number as u8]).unwrap();
                        play(&client, &stream, 0xc11e + number as u64)
                    })
                };
                let playing: Vec<_> = plays.iter().enumerate().map(play).collect();
                playing.into_iter().map(|it| it.join().unwrap()).collect()
            });
            for _ in &plays {
                let (number, [sent, got]) = outcomes.recv_timeout(6 * common::LONG).unwrap();
                let [client_sent, client_got] = clients[number];
                prop_assert_eq!((got, client_got), (client_sent, sent), "connection {}", number);
            }
            eventually("closed", || handle.stats().open == 0);
            Ok(())
        })
        .unwrap();
    assert_eq!(handle.stats().resets, 0);
}
