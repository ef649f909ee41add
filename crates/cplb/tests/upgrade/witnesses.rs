//! What goes on while a process is replaced, and who sees it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::world::{Host, World};

use crate::cluster::milliseconds;
use crate::common::tls::{self, Tls};
use crate::common::{LONG, text};

/// RFC 9568 section 6.1 at 100 ms and priority 200: 3 intervals and (256 - 200) / 256 of one, after
/// which an heir takes over.
pub(crate) const DOWN_INTERVAL: f64 = 0.321;

/// tcpdump on a host, of both families.
pub(crate) struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    pub(crate) fn start(host: &Host, file: PathBuf) -> Self {
        let command = host.command("tcpdump").args(["-q", "-i", "eth0", "-U", "-Z", "root", "-w"]);
        let filter = ["ip proto 112 or ip6 proto 112"];
        let tcpdump = command.arg(&file).args(filter).spawn().unwrap();
        let capture = Self { tcpdump, file };
        // The header of the file is written once it listens.
        let deadline = Instant::now() + LONG;
        while fs::metadata(&capture.file).map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < deadline, "tcpdump does not listen");
            std::thread::sleep(milliseconds(10));
        }
        capture
    }

    /// The longest time between two advertisements of IPv4, and of IPv6; priority 0 none.
    pub(crate) fn longest_gaps(mut self) -> [f64; 2] {
        self.end();
        let shown =
            Command::new("tcpdump").args(["-n", "-tt", "-r"]).arg(&self.file).output().unwrap();
        let shown = text(&shown.stdout);
        assert!(!shown.contains("prio 0,"), "{shown}");
        ["IP ", "IP6 "].map(|family| {
            let ours = |line: &&str| line.contains("VRRP") && line.contains(family);
            let time = |line: &str| line.split(' ').next()?.parse::<f64>().ok();
            let times: Vec<f64> = shown.lines().filter(ours).filter_map(time).collect();
            assert!(times.len() > 10, "{shown}");
            times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
        })
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// One connection that carries requests, one after the other.
pub(crate) struct Talker {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Talker {
    pub(crate) fn start(world: &World, address: &str) -> Self {
        let config = tls::config(world);
        let address = SocketAddr::new(address.parse().unwrap(), 6443);
        let (answers, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let talk = move || {
            let mut tls = Tls::connect(&config, address).unwrap();
            while !stopped.load(Relaxed) && tls.ask().is_ok() {
                counted.fetch_add(1, Relaxed);
                std::thread::sleep(milliseconds(10));
            }
        };
        let client = &world.client().namespace;
        let thread = client.run(|| std::thread::spawn(talk)).unwrap();
        let talker = Self { answers, stop, thread: Some(thread) };
        talker.assert_talks();
        talker
    }

    /// Further requests are answered.
    #[track_caller]
    pub(crate) fn assert_talks(&self) {
        let (before, deadline) = (self.answers.load(Relaxed), Instant::now() + LONG);
        while self.answers.load(Relaxed) < before + 10 {
            assert!(!self.has_ended(), "cut after {} answers", self.answers.load(Relaxed));
            assert!(Instant::now() < deadline, "no answers any more");
            std::thread::sleep(milliseconds(5));
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Clients that connect, ask, are answered and go, one after the other on each of a few threads.
pub(crate) struct Knocking {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(Answered, Vec<String>)>>,
}

/// How often, and how long it took at most, connect included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) count: u64,
    pub(crate) slowest: Duration,
}

impl Knocking {
    pub(crate) fn start(client: &Host, address: &str) -> Self {
        let address = SocketAddr::new(address.parse().unwrap(), 6443);
        let stop = Arc::<AtomicBool>::default();
        let knock = || {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let (mut answered, mut failures) = (Answered::default(), Vec::new());
                while !stop.load(Relaxed) {
                    let begin = Instant::now();
                    match knock(address) {
                        Ok(()) => answered.count += 1,
                        Err(error) => failures.push(error.to_string()),
                    }
                    answered.slowest = answered.slowest.max(begin.elapsed());
                    std::thread::sleep(milliseconds(3));
                }
                (answered, failures)
            })
        };
        let threads = client.namespace.run(|| (0..4).map(|_| knock()).collect()).unwrap();
        Self { stop, threads }
    }

    /// What came of it all, and what went wrong.
    pub(crate) fn end(self) -> (Answered, Vec<String>) {
        self.stop.store(true, Relaxed);
        let (mut all, mut failures) = (Answered::default(), Vec::new());
        for thread in self.threads {
            let (answered, failed) = thread.join().unwrap();
            all.count += answered.count;
            all.slowest = all.slowest.max(answered.slowest);
            failures.extend(failed);
        }
        (all, failures)
    }
}

/// A whole exchange without the cost of TLS: what Go's net/http answers to a plain request there.
fn knock(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.0 400 ") {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("answered {answer:?}"))),
    }
}

/// A server on a node that sends to whoever connects, without end, until dropped.
pub(crate) struct Source {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Sent again and again. Its length is no power of two, so that lost or doubled buffers show.
fn block() -> Vec<u8> {
    (0..251 * 401).map(|position| ((position % 251) ^ (position / 251)) as u8).collect()
}

impl Source {
    pub(crate) fn start(host: &Host) -> Self {
        let listener = host.namespace.run(|| TcpListener::bind("[::]:9443").unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(milliseconds(2));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                // Ends with its client.
                std::thread::spawn(move || {
                    let block = block();
                    while stream.write_all(&block).is_ok() {}
                });
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads from a [`Source`] through a virtual IP, and checks every byte.
pub(crate) struct Stream {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    pub(crate) fn start(client: &Host, address: &str) -> Self {
        let address = SocketAddr::new(address.parse().unwrap(), 9443);
        let (bytes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&bytes), Arc::clone(&stop));
        let read = move || {
            let mut stream = TcpStream::connect_timeout(&address, LONG).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            let expected = block();
            let (mut got, mut at) = (vec![0; 1 << 16], 0);
            while !stopped.load(Relaxed) {
                let length = (expected.len() - at).min(got.len());
                let Ok(length @ 1..) = stream.read(&mut got[..length]) else { return };
                assert!(got[..length] == expected[at..at + length], "not what was sent");
                at = (at + length) % expected.len();
                counted.fetch_add(length as u64, Relaxed);
                // The machine has more to do than this.
                std::thread::sleep(milliseconds(2));
            }
        };
        let thread = client.namespace.run(|| std::thread::spawn(read)).unwrap();
        let stream = Self { bytes, stop, thread: Some(thread) };
        stream.assert_flows();
        stream
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// More comes.
    #[track_caller]
    pub(crate) fn assert_flows(&self) {
        let (before, deadline) = (self.bytes(), Instant::now() + LONG);
        while self.bytes() < before + (1 << 20) {
            let has_ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!has_ended, "cut after {} bytes", self.bytes());
            assert!(Instant::now() < deadline, "nothing comes any more");
            std::thread::sleep(milliseconds(5));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
