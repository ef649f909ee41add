use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
    sockopt,
};
use slab::Slab;

use crate::error::Error;
use crate::exchange::{RESPONSE, Wish};

/// What the clients shall do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Exchanges in all.
    pub(crate) exchanges: usize,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Over which time the first exchanges of all connections begin.
    pub(crate) within: Duration,
    /// What follows an exchange.
    pub(crate) then: Then,
}

/// What follows an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next one on the same connection.
    Again,
    /// The next one on a new connection.
    Anew,
    /// Silence.
    Rest,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) wall: Duration,
    /// Nanoseconds from the begin of the connect, or of a later exchange, to the response.
    pub(crate) latencies: Vec<u64>,
    /// Nanoseconds from the begin of a connect until the backend had accepted.
    pub(crate) reached: Vec<u64>,
    /// Connections that were refused or broken.
    pub(crate) failed: usize,
}

/// Clients of one proxy on one thread.
pub(crate) struct Clients {
    epoll: OwnedFd,
    connections: Slab<Connection>,
    address: SocketAddr,
    origin: Instant,
    seen: Seen,
}

struct Connection {
    socket: OwnedFd,
    connected: bool,
    is_first: bool,
    /// When it began, in nanoseconds since the origin.
    began: u64,
    response: [u8; RESPONSE],
    received: usize,
}

/// No load lasts longer.
const LIMIT: Duration = Duration::from_secs(60);

impl Clients {
    /// No connections yet. To be made and used in the namespace of the clients.
    pub(crate) fn new(address: SocketAddr, origin: Instant) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(Error::system("an epoll instance"))?;
        Ok(Self { epoll, connections: Slab::new(), address, origin, seen: Seen::default() })
    }

    /// Carries a load to its end.
    pub(crate) fn carry(&mut self, load: Load) -> Result<Seen, Error> {
        let begin = Instant::now();
        let (mut begun, mut done) = (0, 0);
        let mut events: Vec<Event> = Vec::with_capacity(1024);
        self.seen = Seen::default();
        while done < load.exchanges {
            if begin.elapsed() > LIMIT {
                return Err(Error::Stuck(LIMIT.as_secs()));
            }
            let share = begin.elapsed().as_secs_f64() / load.within.as_secs_f64().max(1e-9);
            let due = ((share * load.connections as f64) as usize).min(load.connections);
            while begun < due.min(load.exchanges) {
                self.connect()?;
                begun += 1;
            }
            events.clear();
            let wait = if begun < load.connections { 500_000 } else { 50_000_000 };
            let wait = Timespec { tv_sec: 0, tv_nsec: wait };
            if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)).is_err() {
                continue;
            }
            for event in &events {
                let slot = event.data.u64() as usize;
                let Some(connection) = self.connections.get_mut(slot) else { continue };
                let ended = match connection.turn(event.flags, self.origin, &mut self.seen) {
                    Ok(()) | Err(Errno::AGAIN) if connection.received < RESPONSE => continue,
                    Ok(()) | Err(Errno::AGAIN) => false,
                    Err(_) => true,
                };
                done += 1;
                self.seen.failed += usize::from(ended);
                let more = begun < load.exchanges;
                match load.then {
                    Then::Again if more && !ended => connection.again(self.origin),
                    Then::Again | Then::Rest if !ended => continue,
                    _ => {
                        self.connections.remove(slot);
                        if !more || load.then == Then::Rest {
                            continue;
                        }
                        self.connect()?;
                    }
                }
                begun += 1;
            }
        }
        self.seen.wall = begin.elapsed();
        Ok(std::mem::take(&mut self.seen))
    }

    /// Connections open.
    pub(crate) fn open(&self) -> usize {
        self.connections.len()
    }

    /// Closes all connections.
    pub(crate) fn close(&mut self) {
        self.connections.clear();
    }

    fn connect(&mut self) -> Result<(), Error> {
        let refused = Error::system("a client's socket");
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)
                .map_err(&refused)?;
        let began = self.origin.elapsed().as_nanos() as u64;
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(refused(error)),
        }
        let entry = self.connections.vacant_entry();
        let data = EventData::new_u64(entry.key() as u64);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(&self.epoll, &socket, data, flags).map_err(&refused)?;
        entry.insert(Connection {
            socket,
            connected: false,
            is_first: true,
            began,
            response: [0; RESPONSE],
            received: 0,
        });
        Ok(())
    }
}

impl Connection {
    fn turn(&mut self, flags: EventFlags, origin: Instant, seen: &mut Seen) -> Result<(), Errno> {
        if !self.connected {
            if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                return Err(Errno::CONNRESET);
            }
            if !flags.contains(EventFlags::OUT) {
                return Ok(());
            }
            self.connected = true;
            sockopt::set_tcp_nodelay(&self.socket, true)?;
            return self.ask();
        }
        if !flags.contains(EventFlags::IN) {
            return Ok(());
        }
        let rest = &mut self.response[self.received..];
        match recv(&self.socket, rest, RecvFlags::empty())? {
            (0, _) => return Err(Errno::CONNRESET),
            (length, _) => self.received += length,
        }
        if self.received == RESPONSE {
            seen.latencies.push(origin.elapsed().as_nanos() as u64 - self.began);
            if self.is_first {
                let accepted = self.response.first_chunk().map_or(0, |it| u64::from_be_bytes(*it));
                seen.reached.push(accepted.saturating_sub(self.began));
            }
            self.is_first = false;
        }
        Ok(())
    }

    fn again(&mut self, origin: Instant) {
        self.received = 0;
        self.began = origin.elapsed().as_nanos() as u64;
        // If it is broken, that is an event.
        let _ = self.ask();
    }

    fn ask(&self) -> Result<(), Errno> {
        send(&self.socket, &Wish::Response.request(), SendFlags::NOSIGNAL).map(drop)
    }
}

/// Moves `bytes` over so many connections at once, each on a thread of its own.
pub(crate) fn bulk(
    address: SocketAddr,
    streams: usize,
    bytes: u64,
    is_upload: bool,
) -> Result<Duration, Error> {
    let share = bytes / streams as u64;
    let begin = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..streams).map(|_| scope.spawn(move || stream(address, share, is_upload))).collect();
        let ends = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let failed = std::io::Error::other("a stream ended early");
        match ends.into_iter().all(|end| matches!(end, Ok(Ok(())))) {
            true => Ok(begin.elapsed()),
            false => Err(Error::System { what: "a stream", source: failed }),
        }
    })
}

fn stream(address: SocketAddr, bytes: u64, is_upload: bool) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut buffer = vec![0; 256 << 10];
    let wish = if is_upload { Wish::Upload(bytes) } else { Wish::Download(bytes) };
    // An answer before the bulk, as TLS has it.
    stream.write_all(&Wish::Response.request())?;
    stream.read_exact(&mut buffer[..RESPONSE])?;
    stream.write_all(&wish.request())?;
    let mut rest = bytes;
    while rest > 0 {
        let most = buffer.len().min(rest as usize);
        rest -= match is_upload {
            true => stream.write(&buffer[..most])?,
            false => stream.read(&mut buffer[..most])?,
        } as u64;
    }
    if is_upload {
        stream.read_exact(&mut buffer[..RESPONSE])?;
    }
    Ok(())
}
