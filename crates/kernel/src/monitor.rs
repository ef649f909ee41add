//! What happens to interfaces and addresses, as the kernel tells it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::Error;
use crate::address::Found;
use crate::link::Link;
use crate::netlink::{Protocol, Received, Socket};

/// Room for some thousand notifications, so that a burst (a container host starting) is no loss.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// Hears of every change to interfaces and addresses in one network namespace.
///
/// Wait for it to become readable, then call [`Monitor::next_event`] until there is nothing more.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    pending: VecDeque<Event>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface is new, or something about it has changed; this is how it is now.
    LinkChanged(Link),
    /// An interface is no more.
    LinkGone {
        /// The index that it had.
        index: u32,
        /// The name that it had.
        name: String,
    },
    /// An address is new, or was renewed: each [`hold`](crate::address::Addresses::hold) is heard.
    AddressAdded(Found),
    /// An address is no more: removed, or its lifetime is over.
    AddressGone(Found),
    /// Events were lost: list interfaces and addresses anew.
    Resync,
}

impl Monitor {
    /// Opens a non-blocking socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let socket = Socket::subscribe(Protocol::Route, groups as u32)?;
        // The first needs CAP_NET_ADMIN, the second is cut to net.core.rmem_max.
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES))
            .map_err(|errno| Error::system("enlarge a netlink receive buffer", errno))?;
        Ok(Self { socket, pending: VecDeque::new() })
    }

    /// The next event, `None` when there is none now.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            let purpose = "hear of changes to interfaces and addresses";
            let pending = &mut self.pending;
            let heard = self
                .socket
                .notification(purpose, |received| pending.extend(Event::parse(received)));
            match heard {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // netlink(7): the buffer was full and messages were dropped.
                Err(error) if error.errno() == Some(Errno::NOBUFS) => {
                    return Ok(Some(Event::Resync));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Event {
    fn parse(received: &Received<'_>) -> Option<Self> {
        match received.kind {
            libc::RTM_NEWLINK => Link::parse(received).map(Self::LinkChanged),
            libc::RTM_DELLINK => {
                Link::parse_gone(received).map(|(index, name)| Self::LinkGone { index, name })
            }
            libc::RTM_NEWADDR => Found::parse(received).map(Self::AddressAdded),
            libc::RTM_DELADDR => Found::parse(received).map(Self::AddressGone),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
