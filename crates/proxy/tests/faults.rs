//! Clients and backends that break off at every stage, and transfers that never seem to end:
//! nothing is lost, nothing is left, and the loop goes on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    HELLO, Unanswering, answer, backend, connect, echo, eventually, is_reset, named, proxy, reset,
    stopped,
};
use proxy::Handle;

/// Nothing is open any more, every thread turns, and the next client is served.
fn is_well(handle: &Handle, backend: SocketAddr) {
    eventually("all closed", || handle.stats().open == 0);
    assert!(handle.alive(Duration::from_secs(1)));
    let stats = handle.stats();
    assert!(stats.backends.iter().all(|backend| backend.open == 0), "{stats:?}");
    handle.set_backends(vec![backend]);
    let mut client = connect(handle);
    client.write_all(HELLO).unwrap();
    assert!(!answer(&mut client).unwrap().is_empty());
}

/// How far a client gets before it resets the connection.
const CLIENT_STAGES: [fn(&mut TcpStream); 7] = [
    |_| {},
    |client| client.write_all(&HELLO[..1]).unwrap(),
    |client| client.write_all(&HELLO[..100]).unwrap(),
    |client| client.write_all(HELLO).unwrap(),
    |client| {
        client.write_all(HELLO).unwrap();
        answer(client).unwrap();
    },
    |client| {
        client.write_all(HELLO).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    },
    |client| {
        // Bulk that the backend sends back and nobody reads: both directions are full.
        client.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        while client.write_all(&[7; 1 << 16]).is_ok() {}
    },
];

#[test]
fn a_client_may_reset_at_any_stage() {
    let echo = echo();
    let handle = proxy(&[echo]);
    for stage in CLIENT_STAGES {
        for pause in [0, 1, 3] {
            let mut client = connect(&handle);
            stage(&mut client);
            thread::sleep(Duration::from_millis(pause));
            reset(client);
        }
    }
    eventually("all accepted", || handle.stats().accepted == 21);
    is_well(&handle, echo);
}

#[test]
fn a_client_may_reset_before_any_backend_has_accepted() {
    let unanswering = Unanswering::new();
    let handle = proxy(&[unanswering.address]);
    for stage in &CLIENT_STAGES[..4] {
        let mut client = connect(&handle);
        stage(&mut client);
        reset(client);
    }
    // Nobody listens to them yet: they end with the connect that nobody answers.
    eventually("all accepted", || handle.stats().accepted == 4);
    is_well(&handle, named(b'a').0);
    let stats = handle.stats();
    assert_eq!((stats.unserved, stats.gone), (4, 0));
    assert_eq!(stats.backends.iter().map(|backend| backend.timeouts).sum::<u64>(), 4);
}

/// How far a backend gets before it resets the connection.
const BACKEND_STAGES: [fn(&mut TcpStream); 6] = [
    |_| {},
    |stream| stream.write_all(b"greeting").unwrap(),
    |stream| {
        answer(stream).unwrap();
    },
    |stream| {
        answer(stream).unwrap();
        stream.write_all(b"answer").unwrap();
    },
    |stream| {
        stream.write_all(b"end").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        answer(stream).unwrap();
    },
    |stream| {
        // Amid bulk: as much as fits, but no more than a client reads at once.
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = (0..512).try_for_each(|_| stream.write_all(&[7; 1 << 16]));
    },
];

#[test]
fn a_backend_may_reset_at_any_stage() {
    for stage in BACKEND_STAGES {
        let resetting = backend(move |mut stream| {
            stage(&mut stream);
            reset(stream);
        });
        let handle = proxy(&[resetting]);
        for _ in 0..3 {
            let mut client = connect(&handle);
            // Plain bytes, which no other backend may get. The reset may be quicker.
            let _ = client.write_all(b"question");
            thread::sleep(Duration::from_millis(60));
            // Whatever was sent before may come; an end that nobody sent may not.
            let mut everything = Vec::new();
            let end = client.read_to_end(&mut everything);
            match end {
                Ok(_) => assert_eq!(everything, b"end", "a reset seemed to be an end"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
        is_well(&handle, echo());
    }
}

#[test]
fn backends_that_accept_and_stay_silent_hold_nobody_who_leaves() {
    let ((first, _one), (second, _two)) = (stopped(), stopped());
    let handle = proxy(&[first, second]);
    let clients: Vec<_> = (0..200)
        .map(|number| {
            let mut client = connect(&handle);
            client.write_all(if number % 2 == 0 { HELLO } else { b"POST" }).unwrap();
            client
        })
        .collect();
    eventually("all accepted", || handle.stats().accepted == 200);
    assert_eq!(handle.stats().open, 200);
    clients.into_iter().for_each(reset);
    is_well(&handle, named(b'a').0);
}

#[test]
fn an_ejected_silent_backend_lets_go_of_clients_that_have_ended() {
    let (silent, _listener) = stopped();
    let settings =
        proxy::Settings { ejected_grace: Duration::from_millis(100), ..Default::default() };
    let handle = common::proxy_with(settings, &[silent]);
    let mut clients: Vec<_> = (0..20).map(|_| connect(&handle)).collect();
    for client in &clients {
        client.shutdown(Shutdown::Write).unwrap();
    }
    eventually("all accepted", || handle.stats().accepted == 20);
    handle.set_backends(Vec::new());
    handle.eject(silent);
    assert!(clients.iter_mut().all(is_reset));
    is_well(&handle, named(b'a').0);
}

#[test]
fn single_bytes_and_empty_writes_both_ways_are_all_there() {
    let stingy = backend(|mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while matches!(stream.read(&mut byte), Ok(1)) {
            stream.write_all(&[]).unwrap();
            stream.write_all(&byte).unwrap();
        }
    });
    let handle = proxy(&[stingy]);
    let mut client = connect(&handle);
    client.set_nodelay(true).unwrap();
    let mut reader = client.try_clone().unwrap();
    let all: Vec<u8> = HELLO.iter().copied().cycle().take(5_000).collect();
    let got = thread::scope(|scope| {
        let got = scope.spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        for byte in &all {
            client.write_all(&[]).unwrap();
            client.write_all(&[*byte]).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        got.join().unwrap()
    });
    assert!(got == all, "{} bytes of {}", got.len(), all.len());
    eventually("closed", || handle.stats().open == 0);
}

/// How many gigabytes go one way: 1, or what PROXY_TEST_GIGABYTES says.
fn gigabytes() -> usize {
    std::env::var("PROXY_TEST_GIGABYTES").map_or(1, |number| number.parse().unwrap())
}

#[test]
fn gigabytes_one_way_are_complete_and_in_order() {
    const BLOCK: usize = 1 << 20;
    let blocks = gigabytes() << 10;
    // No two neighbouring blocks are the same, so that a lost or doubled one shows.
    let block = |number: usize| -> Vec<u8> {
        let mut bytes = vec![(number % 251) as u8; BLOCK];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        bytes
    };
    let sender = backend(move |mut stream| {
        answer(&mut stream).unwrap();
        for number in 0..blocks {
            stream.write_all(&block(number)).unwrap();
        }
    });
    let handle = proxy(&[sender]);
    let mut client = connect(&handle);
    client.write_all(b"go").unwrap();
    let begin = Instant::now();
    let mut got = vec![0; BLOCK];
    for number in 0..blocks {
        client.read_exact(&mut got).unwrap();
        assert!(got == block(number), "block {number}");
    }
    assert_eq!(client.read(&mut got).unwrap(), 0);
    assert!(begin.elapsed() < Duration::from_secs(60 * gigabytes() as u64));
    eventually("all counted", || handle.stats().backends[0].bytes_down == (blocks * BLOCK) as u64);
    drop(client);
    eventually("closed", || handle.stats().open == 0);
}
