//! What a client notices: a datagram to the virtual address each millisecond.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::common::{Cluster, Segment};

/// A client on a host, and on all other hosts a service at the virtual address that tells the
/// host's number.
pub(crate) struct Client {
    over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Question>>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
struct Question {
    sent: Instant,
    answered_by: Option<usize>,
}

const PORT: u16 = 7;
const EACH: Duration = Duration::from_millis(1);

/// An answer that took longer is none. Only a starved machine is that slow.
const PATIENCE: Duration = Duration::from_millis(100);

impl Client {
    pub(crate) fn start(segment: &Segment, host: usize, cluster: &Cluster) -> Self {
        let virtual_address = SocketAddr::new(cluster.virtual_address().address, PORT);
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut threads = vec![];
        for server in (1..=segment.count()).filter(|number| *number != host) {
            let socket = segment.host(server).run(|| service(virtual_address)).unwrap();
            let over = Arc::clone(&over);
            threads.push(spawn(move || answer(server, &socket, &over)));
        }
        let socket = segment.host(host).run(|| questioner(virtual_address)).unwrap();
        let thread = {
            let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
            move || ask(&socket, &over, &asked)
        };
        threads.push(spawn(thread));
        Self { over, asked, threads }
    }

    /// The host that answers now.
    pub(crate) fn holder(&self) -> Option<usize> {
        let asked = self.asked.lock().unwrap();
        let lately = asked.iter().rev().take_while(|question| question.sent.elapsed() < PATIENCE);
        lately.filter_map(|question| question.answered_by).next()
    }

    /// The longest time without an answer in the span: from the first question without one to the
    /// next that has one.
    ///
    /// What counts is when they were asked: a client that is late itself is no silence.
    pub(crate) fn silence(&self, span: Range<Instant>) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = None;
        for question in self.settled(span) {
            let begin = *since.get_or_insert(question.sent);
            longest = longest.max(question.sent - begin);
            if question.answered_by.is_some() {
                since = None;
            }
        }
        longest
    }

    /// The hosts that answered since `from`, in their order.
    pub(crate) fn holders(&self, from: Instant) -> Vec<usize> {
        let asked = self.settled(from..Instant::now()).into_iter();
        let mut holders: Vec<usize> = asked.filter_map(|question| question.answered_by).collect();
        holders.dedup();
        holders
    }

    /// The questions of the span, once each has its answer or will have none.
    fn settled(&self, span: Range<Instant>) -> Vec<Question> {
        std::thread::sleep((span.end + PATIENCE).saturating_duration_since(Instant::now()));
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|question| span.contains(&question.sent)).copied().collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// At real-time priority, below that of the routers: other work on this machine is no silence.
fn spawn(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(|| {
        kernel::process::realtime(1).unwrap();
        work();
    })
}

/// Bound to the virtual address before and after the host holds it, too.
fn service(virtual_address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(domain(&virtual_address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    match virtual_address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true).unwrap(),
        SocketAddr::V6(_) => socket.set_freebind_v6(true).unwrap(),
    }
    socket.bind(&virtual_address.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

fn answer(host: usize, socket: &UdpSocket, over: &AtomicBool) {
    let mut question = [0; 8];
    while !over.load(Relaxed) {
        let Ok((_, client)) = socket.recv_from(&mut question) else { continue };
        let mut answer = question.to_vec();
        answer.push(host as u8);
        // The address may be gone by now: the client finds that there is no answer.
        let _ = socket.send_to(&answer, client);
    }
}

fn questioner(virtual_address: SocketAddr) -> UdpSocket {
    // For a second after a change Linux ignores the next one (locktime of arp(7)): that would
    // be a figure of this client, not of the routers.
    std::fs::write("/proc/sys/net/ipv4/neigh/eth0/locktime", "0").unwrap();
    let any: IpAddr = match virtual_address {
        SocketAddr::V4(_) => IpAddr::from([0; 4]),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).unwrap();
    socket.connect(virtual_address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn ask(socket: &UdpSocket, over: &AtomicBool, asked: &Mutex<Vec<Question>>) {
    let mut next = Instant::now();
    while !over.load(Relaxed) {
        {
            let mut asked = asked.lock().unwrap();
            let number = asked.len() as u64;
            asked.push(Question { sent: Instant::now(), answered_by: None });
            // A neighbour that cannot be found is an error of a later call.
            let _ = socket.send(&number.to_be_bytes());
            let mut answer = [0; 9];
            while matches!(socket.recv(&mut answer), Ok(9)) {
                let (number, host) = answer.split_first_chunk().unwrap();
                let question = &mut asked[u64::from_be_bytes(*number) as usize];
                if question.sent.elapsed() < PATIENCE {
                    question.answered_by = Some(host[0].into());
                }
            }
        }
        // After a pause of this thread it goes on at its pace and makes nothing up for.
        next = (next + EACH).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn domain(address: &SocketAddr) -> Domain {
    if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }
}
