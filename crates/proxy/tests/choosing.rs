//! Which backend serves a client, and that a bad one costs no client anything.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common::{
    HELLO, Unanswering, answer, ask, backend, connect, eventually, is_reset, named, proxy,
    proxy_with, refused, reset, stopped,
};
use proxy::EvidenceKind::{Answered, Refused, ResetBeforeFirstByte, Silent};
use proxy::{Evidence, Settings};

#[test]
fn turns_are_exactly_even_over_four_threads() {
    let backends = [named(b'a'), named(b'b'), named(b'c')];
    let addresses = backends.each_ref().map(|(address, _)| *address);
    let handle = proxy(&addresses);

    // One after the other: any three consecutive clients take each backend once.
    let order: Vec<u8> = (0..30).map(|_| ask(&handle, HELLO).0.unwrap()[0]).collect();
    for three in order.windows(3) {
        let mut sorted = three.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, b"abc", "in {order:?}");
    }

    // All at once: each backend gets the same number.
    let counts = thread::scope(|scope| {
        let client = || (0..15).map(|_| ask(&handle, HELLO).0.unwrap()[0]).collect::<Vec<_>>();
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        let mut counts = BTreeMap::new();
        for name in clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    });
    assert_eq!(counts, BTreeMap::from([(b'a', 40), (b'b', 40), (b'c', 40)]));
}

#[test]
fn a_backend_that_refuses_costs_nothing() {
    let (dead, (alive, _)) = (refused(), named(b'a'));
    let handle = proxy(&[dead, alive]);
    let evidence = handle.evidence();
    for _ in 0..50 {
        let (answer, took) = ask(&handle, HELLO);
        assert_eq!(answer.unwrap(), b"a");
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    let stats = handle.stats();
    let of = |address| stats.backends.iter().find(|backend| backend.address == address).unwrap();
    assert_eq!(of(alive).served, 50);
    let failed = of(dead).refused;
    assert!((1..=3).contains(&failed), "it is the last choice after a failure: {failed} connects");
    assert_eq!(stats.retries, failed);
    let heard: Vec<_> = evidence.try_iter().take(2).collect();
    let expected = [(dead, Refused), (alive, Answered)];
    assert_eq!(heard, expected.map(|(backend, kind)| Evidence { backend, kind }));
}

#[test]
fn a_stopped_backend_is_passed_over_within_1300_ms() {
    let ((hung, _listener), (alive, _)) = (stopped(), named(b'a'));
    let handle = proxy(&[hung, alive]);
    let evidence = handle.evidence();
    let times: Vec<Duration> = (0..20)
        .map(|_| {
            let (answer, took) = ask(&handle, HELLO);
            assert_eq!(answer.unwrap(), b"a");
            took
        })
        .collect();
    let slowest = times.iter().max().unwrap();
    assert!(*slowest > Duration::from_millis(900), "nobody has met the stopped backend");
    assert!(*slowest < Duration::from_millis(1300), "{times:?}");
    let slow = times.iter().filter(|took| **took > Duration::from_millis(300)).count();
    assert_eq!(slow, 1, "it is the last choice once it is known: {times:?}");
    assert!(evidence.try_iter().any(|seen| seen == Evidence { backend: hung, kind: Silent }));
    let stats = handle.stats();
    assert_eq!((stats.hedges, stats.hedges_won, stats.replays), (1, 1, 1));
}

#[test]
fn latencies_seen_make_it_sooner() {
    let clients = AtomicUsize::new(0);
    let stopping = backend(move |mut client| {
        let asked = answer(&mut client);
        if clients.fetch_add(1, Relaxed) < 10 {
            client.write_all(b"s").unwrap();
        } else {
            // Holds the connection and says nothing, until the proxy gives it up.
            assert!(asked.is_ok() && is_reset(&mut client));
        }
    });
    let (alive, _) = named(b'a');
    let handle = proxy(&[stopping]);
    for _ in 0..10 {
        assert_eq!(ask(&handle, HELLO).0.unwrap(), b"s");
    }
    handle.set_backends(vec![stopping, alive]);
    let (answer, took) = ask(&handle, HELLO);
    assert_eq!(answer.unwrap(), b"a");
    assert!((100..600).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn plain_bytes_are_never_replayed() {
    let ((hung, _listener), (alive, connections)) = (stopped(), named(b'a'));
    let handle = proxy(&[hung, alive]);
    let mut client = connect(&handle);
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let nothing = answer(&mut client).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(connections.load(Relaxed), 0);
    assert_eq!(handle.stats().hedges, 0);
}

#[test]
fn a_client_that_has_asked_nothing_is_not_hedged() {
    let ((hung, _listener), (alive, connections)) = (stopped(), named(b'a'));
    let handle = proxy(&[hung, alive]);
    let mut client = connect(&handle);
    client.write_all(&HELLO[..100]).unwrap();
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(connections.load(Relaxed), 0);
    // The rest of the ClientHello makes it a question.
    client.write_all(&HELLO[100..]).unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"a");
    assert_eq!(connections.load(Relaxed), 1);
}

#[test]
fn a_whole_client_hello_reaches_the_second_backend() {
    let (hung, _listener) = stopped();
    let repeating = backend(|mut client| {
        let mut got = vec![0; HELLO.len()];
        std::io::Read::read_exact(&mut client, &mut got).unwrap();
        client.write_all(if got == HELLO { b"same" } else { b"else" }).unwrap();
        let later = answer(&mut client).unwrap();
        client.write_all(&later).unwrap();
    });
    let handle = proxy(&[hung, repeating]);
    let mut client = connect(&handle);
    client.write_all(HELLO).unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"same");
    client.write_all(b"the flow goes on").unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"the flow goes on");
}

#[test]
fn a_reset_before_the_first_byte_goes_to_the_next_backend() {
    let dying = backend(|mut client| {
        answer(&mut client).unwrap();
        reset(client);
    });
    let (alive, _) = named(b'a');
    let handle = proxy(&[dying, alive]);
    let evidence = handle.evidence();
    for _ in 0..6 {
        assert_eq!(ask(&handle, HELLO).0.unwrap(), b"a");
    }
    let expected = Evidence { backend: dying, kind: ResetBeforeFirstByte };
    assert!(evidence.try_iter().any(|seen| seen == expected));

    // Plain bytes may have been acted on.
    let handle = proxy(&[dying]);
    let mut client = connect(&handle);
    client.write_all(b"POST").unwrap();
    assert!(is_reset(&mut client));
}

#[test]
fn a_backend_that_does_not_answer_a_syn_is_overtaken() {
    let (slow, (alive, _)) = (Unanswering::new(), named(b'a'));
    let handle = proxy(&[slow.address, alive]);
    for _ in 0..10 {
        let (answer, took) = ask(&handle, HELLO);
        assert_eq!(answer.unwrap(), b"a");
        assert!(took < Duration::from_millis(700), "{took:?}");
    }
    assert_eq!(handle.stats().raced, 1, "it is the last choice after that");

    handle.set_backends(vec![slow.address]);
    let (answer, took) = ask(&handle, HELLO);
    assert_eq!(answer.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!((950..1700).contains(&took.as_millis()), "connect_timeout is 1 s: {took:?}");
    assert_eq!(handle.stats().unserved, 1);
}

#[test]
fn nobody_left_is_told_at_once() {
    let handle = proxy(&[refused(), refused(), refused()]);
    let begin = std::time::Instant::now();
    assert!(is_reset(&mut connect(&handle)));
    assert_eq!(handle.stats().unserved, 1);
    assert_eq!(handle.stats().retries, 2);

    handle.set_backends(Vec::new());
    assert!(is_reset(&mut connect(&handle)));
    eventually("counted", || handle.stats().rejected.no_backend == 1);
    assert!(begin.elapsed() < Duration::from_millis(500));
}

#[test]
fn all_hung_is_waited_out() {
    let ((first, one), (second, _two)) = (stopped(), stopped());
    let handle = proxy_with(
        Settings { hedge_after: Duration::from_millis(200), ..Settings::default() },
        &[first, second],
    );
    let mut client = connect(&handle);
    client.write_all(HELLO).unwrap();
    eventually("both asked", || handle.stats().hedges == 1);
    thread::sleep(Duration::from_millis(500));
    // The first one comes back to life.
    let mut woken = one.accept().unwrap().0;
    assert_eq!(answer(&mut woken).unwrap(), HELLO);
    woken.write_all(b"late").unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"late");
}

#[test]
fn a_busy_backend_is_slow_and_not_silent() {
    let clients = AtomicUsize::new(0);
    let busy = backend(move |mut client| {
        let asked = answer(&mut client);
        if clients.fetch_add(1, Relaxed) == 0 {
            thread::sleep(Duration::from_millis(1500));
        }
        assert!(asked.is_ok());
        client.write_all(b"b").unwrap();
    });
    let (idle, _) = named(b'i');
    let handle = proxy(&[busy, idle]);
    let mut late = connect(&handle);
    late.write_all(HELLO).unwrap();
    for _ in 0..60 {
        ask(&handle, HELLO).0.unwrap();
        thread::sleep(Duration::from_millis(25));
    }
    assert_eq!(answer(&mut late).unwrap(), b"b");
    assert_eq!(handle.stats().hedges, 0);
}
