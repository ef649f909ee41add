//! What an exchange and a short connection cost the proxy in instructions of its own, counted by
//! callgrind, against a budget. The system calls cost far more and are not in it; but what grows
//! here grows for every message.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use common::{HELLO, backend, connect_to};
use kernel::netns::Namespace;
use proxy::{Proxy, Settings};

/// Instructions at most. Measured with rustc 1.95 and optimization level 2, and a quarter more.
const EXCHANGE: f64 = 1_750.0;
const SHORT_CONNECTION: f64 = 10_500.0;

/// So many of each; what a start costs is the difference to a run with fewer.
const EXCHANGES: u64 = 400;
const CONNECTIONS: u64 = 150;

const ANSWER: usize = 512;

/// Set in the process that is counted: the backend's address.
const BACKEND: &str = "PROXY_TEST_INSTRUCTIONS_BACKEND";

/// One thread, until the end of standard input.
fn serve(backend: SocketAddr) {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let settings = Settings { listen, threads: 1, pipes: 0, ..Settings::default() };
    let handle = Proxy::bind(settings).unwrap().start_with(&[backend]).unwrap();
    println!("\nlistening {}", handle.listening()[0]);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    handle.shutdown();
}

fn exchange(client: &mut TcpStream) {
    client.write_all(HELLO).unwrap();
    client.read_exact(&mut [0; ANSWER]).unwrap();
}

/// Instructions of a proxy that serves so much, one after the other.
fn instructions(backend: SocketAddr, exchanges: u64, connections: u64) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let (log, profile) = (directory.path().join("log"), directory.path().join("profile"));
    let mut child = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_proxy_stays_within_its_budget_of_instructions", "--nocapture"])
        .env(BACKEND, backend.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs valgrind");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok()).unwrap();

    let mut kept = connect_to(address);
    (0..50 + exchanges).for_each(|_| exchange(&mut kept));
    for _ in 0..20 + connections {
        let mut client = connect_to(address);
        exchange(&mut client);
        drop(client);
    }
    drop((kept, child.stdin.take()));
    // It must be able to write to the end.
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:#?}");
    let log = fs::read_to_string(log).unwrap();
    let collected = log.lines().find_map(|line| line.split_once("Collected : ")).unwrap().1;
    collected.trim().parse().unwrap()
}

#[test]
fn the_proxy_stays_within_its_budget_of_instructions() {
    if let Ok(backend) = std::env::var(BACKEND) {
        return serve(backend.parse().unwrap());
    }
    Namespace::new()
        .expect("this test needs root")
        .run(|| {
            let answering = backend(|mut stream| {
                let mut question = vec![0; HELLO.len()];
                while stream.read_exact(&mut question).is_ok() {
                    stream.write_all(&[7; ANSWER]).unwrap();
                }
            });
            let start = instructions(answering, 0, 0);
            let each = |with: u64, number: u64| (with.saturating_sub(start)) as f64 / number as f64;
            let exchange = each(instructions(answering, EXCHANGES, 0), EXCHANGES);
            let connection = each(instructions(answering, 0, CONNECTIONS), CONNECTIONS);
            println!("{exchange:.0} an exchange, {connection:.0} a short connection");
            assert!(exchange > 100.0 && connection > 1_000.0, "nothing was counted");
            assert!(exchange <= EXCHANGE, "{exchange:.0} instructions an exchange");
            assert!(connection <= SHORT_CONNECTION, "{connection:.0} a short connection");
        })
        .unwrap();
}
