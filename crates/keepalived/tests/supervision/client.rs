//! What a client notices: a datagram to the virtual address each millisecond.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::segment::Segment;

/// Asks from the last host; all hosts before it answer at the virtual address if they have it.
pub(crate) struct Client {
    over: Arc<AtomicBool>,
    asking: JoinHandle<Vec<(Instant, bool)>>,
    answering: Vec<JoinHandle<()>>,
}

const PORT: u16 = 7;
const EACH: Duration = Duration::from_millis(1);
/// An answer that took longer is none.
const PATIENCE: Duration = Duration::from_millis(100);

impl Client {
    pub(crate) fn start(segment: &Segment, host: usize, virtual_address: &str) -> Self {
        let to = SocketAddr::new(virtual_address.parse().unwrap(), PORT);
        let over = Arc::new(AtomicBool::new(false));
        let answering = (1..host)
            .map(|server| {
                let socket = segment.host(server).run(|| service(to)).unwrap();
                let over = Arc::clone(&over);
                std::thread::spawn(move || answer(&socket, &over))
            })
            .collect();
        let socket = segment.host(host).run(|| questioner(to)).unwrap();
        let asking = {
            let over = Arc::clone(&over);
            std::thread::spawn(move || ask(&socket, &over))
        };
        Self { over, asking, answering }
    }

    /// The longest time without an answer since `from`.
    pub(crate) fn silence(self, from: Instant) -> Duration {
        std::thread::sleep(PATIENCE);
        self.over.store(true, Relaxed);
        let asked = self.asking.join().unwrap();
        for thread in self.answering {
            thread.join().unwrap();
        }
        let (mut longest, mut since) = (Duration::ZERO, None);
        // The last questions may have no answer yet.
        let end = Instant::now() - PATIENCE;
        for (sent, answered) in asked.into_iter().filter(|(sent, _)| (from..end).contains(sent)) {
            let begin = *since.get_or_insert(sent);
            longest = longest.max(sent - begin);
            if answered {
                since = None;
            }
        }
        longest
    }
}

fn service(at: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_freebind_v4(true).unwrap();
    socket.bind(&at.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn answer(socket: &UdpSocket, over: &AtomicBool) {
    let mut question = [0; 8];
    while !over.load(Relaxed) {
        let Ok((_, client)) = socket.recv_from(&mut question) else { continue };
        let _ = socket.send_to(&question, client);
    }
}

fn questioner(to: SocketAddr) -> UdpSocket {
    // For a second after a change Linux ignores the next one (locktime of arp(7)): that would be
    // a figure of this client.
    std::fs::write("/proc/sys/net/ipv4/neigh/eth0/locktime", "0").unwrap();
    let socket = UdpSocket::bind((IpAddr::from([0; 4]), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn ask(socket: &UdpSocket, over: &AtomicBool) -> Vec<(Instant, bool)> {
    let mut asked: Vec<(Instant, bool)> = Vec::new();
    let mut next = Instant::now();
    while !over.load(Relaxed) {
        let number = asked.len() as u64;
        asked.push((Instant::now(), false));
        let _ = socket.send(&number.to_be_bytes());
        let mut answer = [0; 8];
        while matches!(socket.recv(&mut answer), Ok(8)) {
            let (sent, answered) = &mut asked[u64::from_be_bytes(answer) as usize];
            *answered = sent.elapsed() < PATIENCE;
        }
        next = (next + EACH).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    asked
}
