//! How clients come in: accepted, placed on a thread, or sent away.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::{FIRST_LISTENER, GENERATIONS, Worker};
use crate::connection::{Connection, Key, Timer};
use crate::listener::{AcceptError, BACKLOG, Listener};
use crate::shared::{Arrival, Command, Mailbox, count};
use crate::socket::close_by_reset;
use crate::sources::Unwelcome;

/// How long accepting rests when the kernel has no descriptor or memory for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Clients one turn accepts, so that the other threads get theirs.
const ACCEPTS_PER_TURN: usize = 8;

/// A thread with so many more connections than another one hands a new client over. More would
/// spare hand-overs, but leave a few bulk transfers on one thread.
const UNEVEN: usize = 2;

impl Worker {
    pub(super) fn accept(&mut self, number: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok((client, source)) => self.place(client, source, number),
                Err(AcceptError::Nobody) => return,
                Err(AcceptError::ThisClient) => {}
                Err(AcceptError::Descriptors) => {
                    let listener = Arc::clone(listener);
                    self.shed(&listener);
                    return self.pause_accepting("out of descriptors");
                }
                Err(AcceptError::Kernel(error)) => {
                    return self.pause_accepting(&error.to_string());
                }
            }
        }
    }

    /// Finds the thread for a new client, if there is room for it.
    fn place(&mut self, client: OwnedFd, source: IpAddr, listener: usize) {
        let shared = Arc::clone(&self.context.shared);
        let rejected = &shared.arrivals[listener].rejected;
        let terms = shared.terms.load();
        if !shared.admit(&terms) {
            count(&rejected.over_limit);
            return close_by_reset(&client);
        }
        let admitted = match shared.sources.admit(source, &terms) {
            Ok(admitted) => admitted,
            Err(reason) => {
                count(match reason {
                    Unwelcome::Foreign => &rejected.foreign,
                    Unwelcome::TooMany => &rejected.per_source,
                });
                shared.open.fetch_sub(1, Relaxed);
                return close_by_reset(&client);
            }
        };
        let turn = shared.turn.fetch_add(1, Relaxed);
        let arrival = Arrival { client, admitted, listener, turn };
        let own = self.mailbox();
        let open = |mailbox: &&Mailbox| mailbox.open.load(Relaxed);
        let working = shared.threads.iter().take(shared.working.load(Relaxed));
        let Some(idlest) = working.min_by_key(open) else { return };
        if open(&own) > open(&idlest) + UNEVEN {
            idlest.open.fetch_add(1, Relaxed);
            return idlest.send(Command::Serve(arrival));
        }
        own.open.fetch_add(1, Relaxed);
        self.serve(arrival);
    }

    pub(super) fn serve(&mut self, arrival: Arrival) {
        let usable = self.context.shared.backends.usable();
        if usable.is_empty() {
            count(&self.context.shared.arrivals[arrival.listener].rejected.no_backend);
            close_by_reset(&arrival.client);
            return self.closed(arrival.admitted);
        }
        self.generation = (self.generation + 1) % GENERATIONS;
        let entry = self.connections.vacant_entry();
        let key = Key::new(entry.key(), self.generation);
        entry.insert(Connection::new(key, arrival, usable));
        self.with(key, Connection::start);
    }

    /// Answers a client that there are no descriptors for, by an RST rather than by silence.
    fn shed(&mut self, listener: &Listener) {
        self.spare = None;
        if let Ok((client, _)) = listener.accept() {
            count(&listener.arrivals.rejected.no_descriptors);
            close_by_reset(&client);
        }
        self.spare = spare_descriptor().ok();
    }

    fn pause_accepting(&mut self, reason: &str) {
        let shared = &self.context.shared;
        count(&shared.totals.accept_errors);
        if shared.may_warn(self.context.now) {
            let open = shared.open.load(Relaxed);
            tracing::warn!(
                reason,
                open,
                limit = shared.terms.load().limit,
                "cannot accept, pausing"
            );
        }
        self.unwatch_listeners();
        self.context.timers.push(self.context.now + ACCEPT_PAUSE, Timer::Accept);
    }

    pub(super) fn resume_accepting_or_wait(&mut self) {
        if self.spare.is_none() {
            self.spare = spare_descriptor().ok();
        }
        if self.resume_accepting().is_err() {
            self.context.timers.push(self.context.now + ACCEPT_PAUSE, Timer::Accept);
        }
    }

    pub(super) fn resume_accepting(&mut self) -> Result<(), Errno> {
        if self.accepting || self.paused || !self.is_working() {
            return Ok(());
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let data = EventData::new_u64(FIRST_LISTENER + index as u64);
            // One thread is woken per client; level-triggered, so that none is forgotten.
            let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
            match epoll::add(&self.context.epoll, &listener.socket, data, flags) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
        self.accepting = true;
        Ok(())
    }

    /// Takes clients from now on, or leaves them to other threads.
    pub(super) fn muster(&mut self) {
        if self.is_working() {
            self.resume_accepting_or_wait();
        } else if self.accepting {
            self.unwatch_listeners();
            // This thread alone may have been woken for those who wait by now.
            self.accept_all(&self.listeners.clone());
        }
    }

    fn is_working(&self) -> bool {
        self.context.thread < self.context.shared.working.load(Relaxed)
    }

    pub(super) fn unwatch_listeners(&mut self) {
        self.accepting = false;
        for listener in &self.listeners {
            // Fails only for one that is not watched.
            let _ = epoll::delete(&self.context.epoll, &listener.socket);
        }
    }

    /// Closes the listeners, after serving those who wait in their queues.
    pub(super) fn stop_accepting(&mut self) {
        self.unwatch_listeners();
        let listeners = std::mem::take(&mut self.listeners);
        self.accept_all(&listeners);
    }

    /// Takes all clients that wait.
    fn accept_all(&mut self, listeners: &[Arc<Listener>]) {
        for (number, listener) in listeners.iter().enumerate() {
            // A bound, as they may come faster than they are served.
            for _ in 0..BACKLOG {
                match listener.accept() {
                    Ok((client, source)) => self.place(client, source, number),
                    Err(AcceptError::ThisClient) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

pub(super) fn spare_descriptor() -> Result<OwnedFd, Errno> {
    eventfd(0, EventfdFlags::CLOEXEC)
}
