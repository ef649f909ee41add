//! Whoever is silent is probed, so that a host that is gone does not hold a connection for ever.
//! What the kernel has set is seen through `ss`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{HELLO, answer, backend, connect, eventually, named, proxy, stopped};

/// The timers of the proxy's connections to `peer`, as `ss -o` shows them.
fn timers(peer: SocketAddr) -> Vec<String> {
    let filter = ["-tnoH", "state", "established", "dst", &peer.to_string()];
    let shown = Command::new("ss").args(filter).output().expect("ss, of the package iproute2");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let of = |line: &str| {
        line.split_whitespace().find(|word| word.starts_with("timer:")).map(str::to_owned)
    };
    let lines = String::from_utf8(shown.stdout).unwrap();
    lines.lines().map(|line| of(line).unwrap_or_default()).collect()
}

/// Whether the proxy has one connection to `peer`, and its keepalive timer runs.
fn is_probed(peer: SocketAddr) -> bool {
    matches!(&timers(peer)[..], [timer] if timer.starts_with("timer:(keepalive,"))
}

#[test]
fn the_backend_of_a_client_that_has_said_nothing_is_probed() {
    let (silent, _listener) = stopped();
    let handle = proxy(&[silent]);
    let _client = connect(&handle);
    eventually("probed", || is_probed(silent));
}

#[test]
fn the_backend_of_a_client_that_stopped_amid_its_question_is_probed() {
    let (silent, _listener) = stopped();
    let handle = proxy(&[silent]);
    let mut client = connect(&handle);
    client.write_all(&HELLO[..100]).unwrap();
    eventually("probed", || is_probed(silent));
}

#[test]
fn the_backend_that_has_answered_is_probed_when_both_fall_silent() {
    let (answering, _) = named(b'a');
    let handle = proxy(&[answering]);
    let mut client = connect(&handle);
    client.write_all(HELLO).unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"a");
    eventually("probed", || is_probed(answering));
}

#[test]
fn the_backend_that_speaks_first_is_probed_however_late() {
    let greeting = backend(|mut client| {
        // After the deadlines of the connect.
        thread::sleep(Duration::from_millis(1200));
        client.write_all(b"hello").unwrap();
        let _ = answer(&mut client);
    });
    let handle = proxy(&[greeting]);
    let mut client = connect(&handle);
    assert_eq!(answer(&mut client).unwrap(), b"hello");
    assert!(is_probed(greeting), "{:?}", timers(greeting));
}

#[test]
fn a_silent_client_is_probed() {
    let handle = proxy(&[named(b'a').0]);
    let client = connect(&handle);
    eventually("probed", || is_probed(client.local_addr().unwrap()));
}
