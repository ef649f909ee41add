//! Clients that connect and leave, by the hundred thousand, and such that stay and do not read. The proxy runs in a process of its own, so
//! that its descriptors, pipes and memory can be counted, and everything in a network namespace,
//! so that nobody else meets the sockets that wait for their time to pass.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{HELLO, answer, backend, connect_to, named, reset};
use kernel::netns::Namespace;
use proxy::{Proxy, Settings};
use socket2::{Domain, Socket, Type};

/// What a process has, as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    pipe_ends: usize,
    resident_kib: usize,
}

impl Held {
    fn by(process: u32) -> Self {
        let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let targets: Vec<_> =
            entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
        let pipe_ends =
            targets.iter().filter(|target| target.to_string_lossy().starts_with("pipe:")).count();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors: targets.len(), pipe_ends, resident_kib }
    }
}

/// A proxy in a process of its own. It ends with its standard input.
struct Apart {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

/// Set in the process that is the proxy: the backends' addresses.
const BACKENDS: &str = "PROXY_TEST_CHURN_BACKENDS";

impl Apart {
    fn new(test: &str, backends: &[SocketAddr]) -> Self {
        let backends: Vec<_> = backends.iter().map(ToString::to_string).collect();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(BACKENDS, backends.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = output
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening ")?.parse().ok())
            .unwrap();
        let input = child.stdin.take();
        Self { child, input, output, address }
    }

    fn held(&self) -> Held {
        Held::by(self.child.id())
    }

    /// The line it prints when it is asked: accepted, open.
    fn counts(&mut self) -> (u64, usize) {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        // The test harness of a process that runs for long has something to say as well.
        let counts = |line: String| {
            let (accepted, open) = line.split_once(' ')?;
            Some((accepted.parse().ok()?, open.parse().ok()?))
        };
        self.output.by_ref().map_while(Result::ok).find_map(counts).unwrap()
    }

    fn wait_until_idle(&mut self) -> u64 {
        for _ in 0..1000 {
            match self.counts() {
                (accepted, 0) => return accepted,
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("connections are left: {:?}", self.counts());
    }

    fn end(mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Fails for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The proxy: answers every line of standard input, until its end.
fn serve(backends: &str) {
    let backends: Vec<_> = backends.split(',').map(|address| address.parse().unwrap()).collect();
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let settings =
        Settings { listen, threads: 2, threads_at_rest: 2, pipes: 4, ..Settings::default() };
    let handle = Proxy::bind(settings).unwrap().start_with(&backends).unwrap();
    println!("\nlistening {}", handle.listening()[0]);
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let stats = handle.stats();
        println!("{} {}", stats.accepted, stats.open);
    }
    assert!(handle.alive(Duration::from_secs(1)));
    handle.shutdown();
}

/// A client from one of many addresses, so that ports do not run out.
fn client(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 0, 1, (number % 200) as u8 + 1);
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(common::LONG)).unwrap();
    TcpStream::from(socket)
}

/// Clients of every kind that come and go at once.
fn churn(numbers: std::ops::Range<usize>, to: SocketAddr, bulk: &[u8]) {
    for number in numbers {
        let mut client = client(number, to);
        match number % 50 {
            0 => {
                client.write_all(HELLO).unwrap();
                assert_eq!(answer(&mut client).unwrap().len(), 1);
            }
            1 => client.write_all(&HELLO[..100]).unwrap(),
            // Cut off amid bulk now and then: the pipes are in use.
            2 if number % 5000 == 2 => client.write_all(bulk).unwrap(),
            // An end rather than a reset.
            3..10 => continue,
            _ => {}
        }
        reset(client);
    }
}

/// How many clients come: a hundred thousand, or what PROXY_TEST_CLIENTS says.
fn clients() -> usize {
    std::env::var("PROXY_TEST_CLIENTS").map_or(100_000, |number| number.parse().unwrap())
}

#[test]
fn a_hundred_thousand_clients_leave_no_descriptor_no_pipe_and_no_memory() {
    if let Ok(backends) = std::env::var(BACKENDS) {
        return serve(&backends);
    }
    let name = "a_hundred_thousand_clients_leave_no_descriptor_no_pipe_and_no_memory";
    let namespace = Namespace::new().expect("this test needs root");
    namespace
        .run(|| {
            let backends = [named(b'a').0, named(b'b').0];
            let mut proxy = Apart::new(name, &backends);
            let bulk = vec![7; 4 << 20];
            // What is made once is made now.
            churn(0..10_000, proxy.address, &bulk);
            assert_eq!(proxy.wait_until_idle(), 10_000);
            let before = proxy.held();

            churn(10_000..clients(), proxy.address, &bulk);
            assert_eq!(proxy.wait_until_idle(), clients() as u64, "every client was accepted");
            let after = proxy.held();
            assert_eq!(
                (after.descriptors, after.pipe_ends),
                (before.descriptors, before.pipe_ends)
            );
            // 2 threads with 4 pipes; standard input and output are pipes too.
            assert!(before.pipe_ends >= 2 * 2 * 4 + 2, "{before:?}");
            // 11 bytes a connection would show.
            let grown = after.resident_kib.saturating_sub(before.resident_kib);
            assert!(grown < 1024, "{grown} KiB more than before: {before:?}, {after:?}");

            let mut last = connect_to(proxy.address);
            last.write_all(HELLO).unwrap();
            assert_eq!(answer(&mut last).unwrap().len(), 1);
            drop(last);
            proxy.end();
        })
        .unwrap();
}

/// Sends without end to whoever has asked.
fn flooding() -> SocketAddr {
    backend(|mut client| {
        if answer(&mut client).is_ok() {
            while client.write_all(&[7; 1 << 16]).is_ok() {}
        }
    })
}

#[test]
fn readers_that_stop_cost_the_proxy_little_memory() {
    const READERS: usize = 200;
    if let Ok(backends) = std::env::var(BACKENDS) {
        return serve(&backends);
    }
    let name = "readers_that_stop_cost_the_proxy_little_memory";
    Namespace::new()
        .expect("this test needs root")
        .run(|| {
            let mut proxy = Apart::new(name, &[flooding()]);
            let before = proxy.held();
            let readers: Vec<_> = (0..READERS)
                .map(|number| {
                    let mut reader = client(number, proxy.address);
                    reader.write_all(b"go").unwrap();
                    assert!(!answer(&mut reader).unwrap().is_empty());
                    reader
                })
                .collect();
            // Until every buffer on the way is full: then it stays as it is.
            let mut held = proxy.held();
            for _ in 0..100 {
                thread::sleep(Duration::from_millis(100));
                let earlier = std::mem::replace(&mut held, proxy.held());
                if held == earlier {
                    break;
                }
            }
            assert_eq!(proxy.counts().1, READERS);
            let grown = held.resident_kib.saturating_sub(before.resident_kib);
            // At most what one read takes, 64 KiB, is held for each, and a little for itself.
            assert!(grown < READERS * 72 + 1024, "{grown} KiB for {READERS} readers");
            readers.into_iter().for_each(reset);
            proxy.wait_until_idle();
            assert_eq!(proxy.held().descriptors, before.descriptors);
            assert_eq!(proxy.held().pipe_ends, before.pipe_ends);
            proxy.end();
        })
        .unwrap();
}
