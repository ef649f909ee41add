//! Bytes, ends and resets go through unchanged.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use common::{
    LONG, answer, backend, connect, echo, eventually, is_reset, proxy, proxy_with, reset,
};
use proxy::Settings;

/// Numbers that look random and are the same in every run (xorshift64, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes()).flatten();
        words.take(length).collect()
    }

    /// Mostly small, sometimes one byte, sometimes bulk.
    fn size(&mut self) -> usize {
        let bound = [1, 200, 5_000, 70_000, 600_000][self.below(5) as usize];
        1 + self.below(bound) as usize
    }
}

/// Writes chunks of any size with pauses, then the end; returns length and hash of all.
fn write_all(mut stream: TcpStream, seed: u64, total: usize) -> (usize, u64) {
    let (mut numbers, mut hasher, mut written) = (Numbers(seed), DefaultHasher::new(), 0);
    while written < total {
        let length = numbers.size();
        let chunk = numbers.bytes(length);
        stream.write_all(&chunk).unwrap();
        written += length;
        for byte in chunk {
            hasher.write_u8(byte);
        }
        if numbers.below(4) == 0 {
            thread::sleep(Duration::from_micros(numbers.below(3_000)));
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
    (written, hasher.finish())
}

/// Reads up to the end in pieces of any size with pauses; returns length and hash of all.
fn read_all(mut stream: TcpStream, seed: u64) -> (usize, u64) {
    let (mut numbers, mut hasher, mut read) = (Numbers(seed), DefaultHasher::new(), 0);
    loop {
        let mut chunk = vec![0; numbers.size()];
        let length = stream.read(&mut chunk).unwrap();
        if length == 0 {
            return (read, hasher.finish());
        }
        read += length;
        for &byte in &chunk[..length] {
            hasher.write_u8(byte);
        }
        if numbers.below(16) == 0 {
            thread::sleep(Duration::from_micros(numbers.below(2_000)));
        }
    }
}

#[test]
fn every_byte_arrives_whatever_the_sizes_and_pauses() {
    let (heard, uploads) = channel();
    // Sends and receives at once, each way with an end of its own.
    let peer = backend(move |mut stream| {
        let mut seed = [0; 8];
        stream.read_exact(&mut seed).unwrap();
        let seed = u64::from_le_bytes(seed);
        let reader = stream.try_clone().unwrap();
        let upload = thread::spawn(move || read_all(reader, seed + 1));
        let download = write_all(stream, seed + 2, 100_000 * (seed as usize % 20));
        heard.send((seed, upload.join().unwrap(), download)).unwrap();
    });
    let handle = proxy_with(Settings { pipes: 2, ..Settings::default() }, &[peer]);

    let client = |seed: u64| {
        let mut stream = connect(&handle);
        stream.write_all(&seed.to_le_bytes()).unwrap();
        let reader = stream.try_clone().unwrap();
        let download = thread::spawn(move || read_all(reader, seed + 3));
        let upload = write_all(stream, seed + 4, 100_000 * (seed as usize * 7 % 20));
        (seed, upload, download.join().unwrap())
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (1..=20).map(|seed| scope.spawn(move || client(seed))).collect();
        let mut sent: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let mut received: Vec<_> = uploads.iter().take(20).collect();
        sent.sort_unstable();
        received.sort_unstable();
        assert_eq!(sent, received);

        let up: usize = sent.iter().map(|(_, (length, _), _)| length + 8).sum();
        let down: usize = sent.iter().map(|(_, _, (length, _))| length).sum();
        assert!(up > 10_000_000 && down > 10_000_000);
        // The last bytes are counted after they have arrived.
        eventually("all closed", || handle.stats().open == 0);
        let stats = handle.stats();
        assert_eq!(stats.backends[0].bytes_up, up as u64);
        assert_eq!(stats.backends[0].bytes_down, down as u64);
    });
    assert_eq!(handle.stats().resets, 0);
}

#[test]
fn bulk_to_a_slow_reader_is_complete() {
    const TOTAL: usize = 64 << 20;
    let block = Numbers(7).bytes(1 << 20);
    let sender = {
        let block = block.clone();
        backend(move |mut stream| {
            answer(&mut stream).unwrap();
            (0..TOTAL / block.len()).for_each(|_| stream.write_all(&block).unwrap());
        })
    };
    let handle = proxy(&[sender]);
    let mut client = connect(&handle);
    client.write_all(b"go").unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut chunk = vec![0; block.len()];
    for _ in 0..TOTAL / block.len() {
        client.read_exact(&mut chunk).unwrap();
        assert!(chunk == block);
    }
    assert_eq!(client.read(&mut chunk).unwrap(), 0);
    eventually("all counted", || handle.stats().backends[0].bytes_down == TOTAL as u64);
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let handle = proxy(&[echo()]);
    let mut client = connect(&handle);
    for byte in 0..=255 {
        client.write_all(&[byte]).unwrap();
        assert_eq!(answer(&mut client).unwrap(), [byte]);
    }
}

#[test]
fn a_client_that_has_ended_still_gets_its_answer() {
    let counting = backend(|mut stream| {
        let mut everything = Vec::new();
        stream.read_to_end(&mut everything).unwrap();
        thread::sleep(Duration::from_millis(50));
        let report = format!("{} bytes", everything.len());
        stream.write_all(report.as_bytes()).unwrap();
    });
    let handle = proxy(&[counting]);
    for request in [&b""[..], b"request", common::HELLO] {
        let mut client = connect(&handle);
        client.write_all(request).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let expected = format!("{} bytes", request.len());
        assert_eq!(answer(&mut client).unwrap(), expected.as_bytes());
        assert_eq!(answer(&mut client).unwrap(), b"");
    }
    eventually("all closed", || handle.stats().open == 0);
}

#[test]
fn a_backend_that_has_ended_still_gets_the_rest() {
    let (heard, got) = channel();
    let greeting = backend(move |mut stream| {
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut everything = Vec::new();
        stream.read_to_end(&mut everything).unwrap();
        heard.send(everything).unwrap();
    });
    let handle = proxy(&[greeting]);
    let mut client = connect(&handle);
    assert_eq!(answer(&mut client).unwrap(), b"hello");
    assert_eq!(answer(&mut client).unwrap(), b"");
    client.write_all(b"and more").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(got.recv_timeout(LONG).unwrap(), b"and more");
    eventually("closed", || handle.stats().open == 0);
}

#[test]
fn a_reset_goes_through_both_ways() {
    let (heard, was_reset) = channel();
    let waiting = backend(move |mut stream| {
        let question = answer(&mut stream).unwrap();
        stream.write_all(&question).unwrap();
        heard.send(is_reset(&mut stream)).unwrap();
    });
    let handle = proxy(&[waiting]);
    let mut client = connect(&handle);
    client.write_all(b"x").unwrap();
    answer(&mut client).unwrap();
    reset(client);
    assert!(was_reset.recv_timeout(LONG).unwrap());

    let leaving = backend(|mut stream| {
        let question = answer(&mut stream).unwrap();
        stream.write_all(&question).unwrap();
        answer(&mut stream).unwrap();
        reset(stream);
    });
    handle.set_backends(vec![leaving]);
    let mut client = connect(&handle);
    client.write_all(b"x").unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"x");
    client.write_all(b"y").unwrap();
    assert!(is_reset(&mut client));
    eventually("both counted", || handle.stats().resets == 2);
    eventually("closed", || handle.stats().open == 0);
}

#[test]
fn a_client_that_ends_and_resets_is_noticed() {
    let (heard, was_reset) = channel();
    // Answers nothing after the end of the client.
    let waiting = backend(move |mut stream| {
        let question = answer(&mut stream).unwrap();
        stream.write_all(&question).unwrap();
        assert_eq!(answer(&mut stream).unwrap(), b"");
        heard.send(()).unwrap();
        eventually("reset", || stream.take_error().unwrap().is_some());
        heard.send(()).unwrap();
    });
    let handle = proxy(&[waiting]);
    let mut client = connect(&handle);
    client.write_all(b"x").unwrap();
    answer(&mut client).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    was_reset.recv_timeout(LONG).unwrap();
    reset(client);
    was_reset.recv_timeout(LONG).unwrap();
    eventually("closed", || handle.stats().open == 0);
}
