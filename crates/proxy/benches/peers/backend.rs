use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::exchange::{REQUEST, RESPONSE, Wish};
use crate::lan::{BACKENDS, Lan};

/// The two backends, a thread each.
pub(crate) struct Backends {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One connection of a backend.
struct Connection {
    socket: OwnedFd,
    /// When it was accepted, in nanoseconds since the start.
    accepted: u64,
    request: [u8; REQUEST],
    received: usize,
    /// Bytes that it still sinks before it responds.
    to_sink: u64,
    /// Bytes that it still sends.
    to_send: u64,
    waits_for_room: bool,
}

/// One backend.
struct Backend {
    epoll: OwnedFd,
    listener: Socket,
    connections: Slab<Connection>,
    origin: Instant,
    buffer: Box<[u8]>,
}

const LISTENER: u64 = u64::MAX;
const CHUNK: usize = 1 << 20;

impl Backends {
    /// Listens and serves. Times are told since `origin`.
    pub(crate) fn start(lan: &Lan, origin: Instant) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for address in BACKENDS {
            let backend = lan.backend.run(|| Backend::listen(address, origin))??;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || backend.serve(&stop)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // A panic has been printed, and the figures show what is missing.
            let _ = thread.join();
        }
    }
}

impl Backend {
    fn listen(address: SocketAddr, origin: Instant) -> Result<Self, Error> {
        let refused = Error::system("a backend's socket");
        let listener = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))
            .map_err(&refused)?;
        listener.set_reuse_address(true).map_err(&refused)?;
        listener.bind(&address.into()).map_err(&refused)?;
        listener.listen(65_535).map_err(&refused)?;
        let refused = Error::system("an epoll instance");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(&refused)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)
            .map_err(&refused)?;
        let buffer = vec![0x5a; CHUNK].into_boxed_slice();
        Ok(Self { epoll, listener, connections: Slab::new(), origin, buffer })
    }

    fn serve(mut self, stop: &AtomicBool) {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let glance = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        while !stop.load(Relaxed) {
            events.clear();
            if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&glance)).is_err() {
                continue;
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    slot => self.turn(slot as usize),
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(socket) = accept_with(&self.listener, SocketFlags::NONBLOCK) {
            let accepted = self.origin.elapsed().as_nanos() as u64;
            let entry = self.connections.vacant_entry();
            let data = EventData::new_u64(entry.key() as u64);
            let watched = sockopt::set_tcp_nodelay(&socket, true)
                .and_then(|()| epoll::add(&self.epoll, &socket, data, EventFlags::IN));
            if watched.is_err() {
                continue;
            }
            entry.insert(Connection {
                socket,
                accepted,
                request: [0; REQUEST],
                received: 0,
                to_sink: 0,
                to_send: 0,
                waits_for_room: false,
            });
        }
    }

    fn turn(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let ended = match connection.turn(&mut self.buffer) {
            Ok(()) | Err(Errno::AGAIN) => connection.watch(slot, &self.epoll).is_err(),
            Err(_) => true,
        };
        if ended {
            self.connections.remove(slot);
        }
    }
}

impl Connection {
    /// Does one thing; an error ends it, or says that it has to wait.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        if self.to_send > 0 {
            return self.send(buffer);
        }
        if self.to_sink > 0 {
            let most = buffer.len().min(self.to_sink as usize);
            self.to_sink -= ended(recv(&self.socket, &mut buffer[..most], RecvFlags::empty()))?;
            return if self.to_sink == 0 { self.respond() } else { Ok(()) };
        }
        let rest = &mut self.request[self.received..];
        self.received += ended(recv(&self.socket, rest, RecvFlags::empty()))? as usize;
        if self.received < REQUEST {
            return Ok(());
        }
        self.received = 0;
        match Wish::of(&self.request) {
            Wish::Response => self.respond(),
            Wish::Upload(length) => {
                self.to_sink = length;
                Ok(())
            }
            Wish::Download(length) => {
                self.to_send = length;
                self.send(buffer)
            }
        }
    }

    fn respond(&self) -> Result<(), Errno> {
        let mut response = [0; RESPONSE];
        response[..8].copy_from_slice(&self.accepted.to_be_bytes());
        match send(&self.socket, &response, SendFlags::NOSIGNAL) {
            Ok(RESPONSE) => Ok(()),
            // Responses are small and wait for requests: there is room for them.
            _ => Err(Errno::PIPE),
        }
    }

    fn send(&mut self, buffer: &[u8]) -> Result<(), Errno> {
        while self.to_send > 0 {
            let most = buffer.len().min(self.to_send as usize);
            self.to_send -= send(&self.socket, &buffer[..most], SendFlags::NOSIGNAL)? as u64;
        }
        Ok(())
    }

    fn watch(&mut self, slot: usize, epoll: &OwnedFd) -> Result<(), Errno> {
        let waits_for_room = self.to_send > 0;
        if waits_for_room == self.waits_for_room {
            return Ok(());
        }
        self.waits_for_room = waits_for_room;
        let flags = if waits_for_room { EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(epoll, &self.socket, EventData::new_u64(slot as u64), flags)
    }
}

/// The end of the stream is the end of the connection.
fn ended(received: Result<(usize, usize), Errno>) -> Result<u64, Errno> {
    match received? {
        (0, _) => Err(Errno::PIPE),
        (length, _) => Ok(length as u64),
    }
}
