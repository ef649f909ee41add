//! `cplb proxy` alone, on loopback: what its options do.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything.
const LONG: Duration = Duration::from_secs(20);

/// A `cplb proxy` at work, until dropped.
struct Running {
    process: Child,
    address: SocketAddr,
}

impl Running {
    fn start(backends: &[SocketAddr], options: &[&str]) -> Self {
        // A port that nobody has now.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_cplb"));
        command.args(["proxy", "--listen", &address.to_string()]).args(options);
        for backend in backends {
            command.args(["--backend", &backend.to_string()]);
        }
        let process = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let running = Self { process, address };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < LONG, "it does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        running
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        client
    }

    /// What the first line of the answer is; the client goes on living.
    fn ask(&self) -> (std::io::Result<String>, TcpStream) {
        let mut client = self.connect();
        let mut line = String::new();
        let asked = client.write_all(b"hello\n");
        let answer = asked.and_then(|()| BufReader::new(&client).read_line(&mut line));
        (answer.map(|_| line.trim_end().to_owned()), client)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn backend(name: &'static str) -> SocketAddr {
    counting_backend(name).0
}

/// A backend that answers a line with its name and that line, and keeps the connection. How many it
/// has, too.
fn counting_backend(name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let open = Arc::clone(&counter);
            thread::spawn(move || {
                open.fetch_add(1, Relaxed);
                let mut line = String::new();
                let mut reader = BufReader::new(client.try_clone().unwrap());
                if reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                    let _ = write!(client, "{name} {line}");
                    let _ = reader.read_to_end(&mut Vec::new());
                }
                open.fetch_sub(1, Relaxed);
            });
        }
    });
    (address, open)
}

fn is_reset(answer: &std::io::Result<String>) -> bool {
    matches!(answer, Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))
}

#[test]
fn the_backend_is_told_who_the_client_is() {
    let proxy = Running::start(&[backend("a")], &["--proxy-protocol", "v1"]);
    let (answer, client) = proxy.ask();
    let (from, to) = (client.local_addr().unwrap(), proxy.address);
    assert_eq!(
        answer.unwrap(),
        format!("a PROXY TCP4 127.0.0.1 127.0.0.1 {} {}", from.port(), to.port())
    );
    let (answer, _client) = Running::start(&[backend("a")], &[]).ask();
    assert_eq!(answer.unwrap(), "a hello");
}

#[test]
fn networks_and_limits_send_clients_away() {
    let of_others = Running::start(&[backend("a")], &["--allow-from", "192.0.2.0/24"]);
    assert!(is_reset(&of_others.ask().0));
    let networks = ["--allow-from", "192.0.2.0/24", "--allow-from", "127.0.0.0/8"];
    let (answer, _client) = Running::start(&[backend("a")], &networks).ask();
    assert_eq!(answer.unwrap(), "a hello");

    for limit in ["--max-connections", "--max-connections-per-source"] {
        let limited = Running::start(&[backend("a")], &[limit, "2"]);
        // The one that looked whether it listens may not have gone yet.
        let begin = Instant::now();
        let held = loop {
            let held = [limited.ask(), limited.ask()];
            if held.iter().all(|(answer, _)| answer.is_ok()) {
                break held;
            }
            assert!(begin.elapsed() < LONG, "{held:?}");
        };
        assert!(is_reset(&limited.ask().0), "{limit}");
        drop(held);
        while limited.ask().0.is_err() {
            assert!(begin.elapsed() < LONG, "{limit}: none is let in again");
        }
    }
}

#[test]
fn the_least_loaded_backend_is_found() {
    let [(a, _), (b, open_at_b)] = [counting_backend("a"), counting_backend("b")];
    let names = |options: &[&str]| -> Vec<String> {
        let proxy = Running::start(&[a, b], options);
        let mut held: Vec<(String, TcpStream)> = Vec::new();
        for _ in 0..8 {
            let (answer, client) = proxy.ask();
            held.push((answer.unwrap(), client));
        }
        // One backend loses its clients, and four new ones come.
        held.retain(|(name, _)| name == "a hello");
        let begin = Instant::now();
        while open_at_b.load(Relaxed) > 0 {
            assert!(begin.elapsed() < LONG, "it keeps them");
            thread::sleep(Duration::from_millis(5));
        }
        // The proxy has closed them, and counts them no more in a moment.
        thread::sleep(Duration::from_millis(100));
        (0..4)
            .map(|_| {
                let (answer, client) = proxy.ask();
                let name = answer.unwrap();
                held.push((name.clone(), client));
                name
            })
            .collect()
    };
    assert_eq!(names(&["--balance", "least-connections"]), ["b hello"; 4]);
    let mut in_turn = names(&["--balance", "round-robin"]);
    in_turn.sort();
    assert_eq!(in_turn, ["a hello", "a hello", "b hello", "b hello"]);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let refused = |options: &[&str]| {
        let necessary = ["proxy", "--listen", "127.0.0.1:1", "--backend", "127.0.0.1:2"];
        let output = Command::new(env!("CARGO_BIN_EXE_cplb"))
            .args(necessary)
            .args(options)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let told = refused(&["--allow-from", "10.0.0.1/8"]);
    assert!(told.contains("write 10.0.0.0/8, or 10.0.0.1/32 for that address alone"), "{told}");
    assert!(refused(&["--proxy-protocol", "v3"]).contains("[possible values: v1, v2]"));
    assert!(refused(&["--max-connections", "0"]).contains("0 is not in 1.."));
}
