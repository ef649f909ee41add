//! One way to talk netlink, for routes, netfilter and generic families alike: a message goes out,
//! its acknowledgement or its listing comes back, and nothing waits for ever.

mod answer;

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkSerializable,
};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub use self::answer::Received;
pub(crate) use self::answer::attributes;
use self::answer::{messages, outcome};
use crate::{Error, sys};

/// The kernel answers in microseconds; the limit keeps a stuck driver from stopping us for good.
const PATIENCE: Duration = Duration::from_secs(2);

/// The kernel fills a listing's datagrams up to 32 KiB (`netlink_dump`), twice that always fits.
const BUFFER_BYTES: usize = 64 * 1024;

/// How often a listing is started anew because its objects changed meanwhile (NLM_F_DUMP_INTR).
const LISTING_ATTEMPTS: usize = 8;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// The part of the kernel to talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes, neighbours (NETLINK_ROUTE).
    Route,
    /// nftables and connection tracking (NETLINK_NETFILTER).
    Netfilter,
    /// Families known by name, like IPVS (NETLINK_GENERIC).
    Generic,
}

/// A netlink socket that asks one thing at a time and waits for the answer, at most two seconds.
///
/// It belongs to the network namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A request before it gets its number: type, flags and what follows `struct nlmsghdr`.
///
/// NLM_F_REQUEST need not be among the flags, it is always added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message type, for netfilter and generic netlink with its subsystem.
    pub kind: u16,
    /// NLM_F_* beside NLM_F_REQUEST.
    pub flags: u16,
    /// The family's own header and its attributes.
    pub body: Vec<u8>,
}

impl Message {
    /// Encodes a message of the netlink-packet crates.
    pub fn typed(content: &impl NetlinkSerializable, flags: u16) -> Self {
        let mut body = vec![0; content.buffer_len()];
        content.serialize(&mut body);
        Self { kind: content.message_type(), flags, body }
    }

    pub(crate) fn write(&self, sequence: u32, extra_flags: u16, datagram: &mut Vec<u8>) {
        let length = (HEADER_BYTES + self.body.len()) as u32;
        datagram.extend_from_slice(&length.to_ne_bytes());
        datagram.extend_from_slice(&self.kind.to_ne_bytes());
        datagram.extend_from_slice(&(self.flags | extra_flags | NLM_F_REQUEST).to_ne_bytes());
        datagram.extend_from_slice(&sequence.to_ne_bytes());
        // The port number is the kernel's to fill in.
        datagram.extend_from_slice(&0_u32.to_ne_bytes());
        datagram.extend_from_slice(&self.body);
        datagram.resize(datagram.len().next_multiple_of(4), 0);
    }
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        let purpose = "open a netlink socket";
        let socket = Self::bound(protocol, SocketFlags::empty(), 0)?;
        sockopt::set_socket_timeout(&socket.fd, Timeout::Recv, Some(PATIENCE))
            .and_then(|()| sockopt::set_socket_timeout(&socket.fd, Timeout::Send, Some(PATIENCE)))
            .map_err(|errno| Error::system(purpose, errno))?;
        // All three are younger than netlink itself: an old kernel answers in fewer words, which
        // is no reason to fail.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            sys::set_option(socket.as_fd(), libc::SOL_NETLINK, option, 1).ok();
        }
        Ok(socket)
    }

    /// Goes on with a socket of another process, which must not use it at the same time: both would
    /// read the answers.
    pub(crate) fn inherit(fd: OwnedFd) -> Result<Self, Error> {
        net::getsockname(&fd)
            .and_then(SocketAddrNetlink::try_from)
            .map_err(|errno| Error::system("go on with an inherited netlink socket", errno))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// The same socket, for another process.
    pub(crate) fn duplicate(&self) -> Result<OwnedFd, Error> {
        rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)
            .map_err(|errno| Error::system("duplicate a netlink socket", errno))
    }

    /// Opens a non-blocking socket that hears the notifications of `groups`, a mask of RTMGRP_*.
    pub(crate) fn subscribe(protocol: Protocol, groups: u32) -> Result<Self, Error> {
        Self::bound(protocol, SocketFlags::NONBLOCK, groups)
    }

    /// Sends one request and waits for its acknowledgement.
    ///
    /// `purpose` says in the infinitive what is asked ("add the address 10.0.0.100/24"), for the
    /// error message.
    pub fn request(&mut self, message: &Message, purpose: impl Display) -> Result<(), Error> {
        let acknowledged = Message { flags: message.flags | NLM_F_ACK, ..message.clone() };
        self.batch(&[acknowledged], purpose)
    }

    /// Sends several messages in one datagram and waits for the acknowledgement of each that
    /// carries NLM_F_ACK.
    ///
    /// The first error ends it, also that of a message without NLM_F_ACK: a refused nfnetlink
    /// batch is reported against its begin message.
    pub fn batch(&mut self, batch: &[Message], purpose: impl Display) -> Result<(), Error> {
        let first = self.send(batch, 0, &purpose)?;
        let mut awaited: Vec<u32> = (first..)
            .zip(batch)
            .filter(|(_, message)| message.flags & NLM_F_ACK != 0)
            .map(|(sequence, _)| sequence)
            .collect();
        let range = first..first + batch.len() as u32;

        while !awaited.is_empty() {
            let datagram = receive(&self.fd, &mut self.buffer, &purpose)?;
            for answer in messages(datagram, &purpose) {
                let answer = answer?;
                if answer.kind != NLMSG_ERROR || !range.contains(&answer.sequence) {
                    continue;
                }
                outcome(&answer, &purpose)?;
                awaited.retain(|sequence| *sequence != answer.sequence);
            }
        }
        Ok(())
    }

    /// Asks for one thing and returns what `read` makes of the answer.
    ///
    /// NLM_F_ACK is added: an answer without the acknowledgement behind it would be left in the
    /// socket.
    pub fn ask<T>(
        &mut self,
        message: &Message,
        purpose: impl Display,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> Result<T, Error> {
        let sequence = self.send(std::slice::from_ref(message), NLM_F_ACK, &purpose)?;
        let mut found = None;
        loop {
            let datagram = receive(&self.fd, &mut self.buffer, &purpose)?;
            for answer in messages(datagram, &purpose) {
                let answer = answer?;
                if answer.sequence != sequence {
                    continue;
                }
                if answer.kind != NLMSG_ERROR {
                    found = read(&answer);
                    continue;
                }
                outcome(&answer, &purpose)?;
                return found.ok_or_else(|| Error::Malformed {
                    purpose: purpose.to_string(),
                    detail: "it lacks what was asked for".to_owned(),
                });
            }
        }
    }

    /// Asks for a listing and collects what `read` makes of each entry; `None` leaves one out.
    ///
    /// NLM_F_DUMP is added. A listing that the kernel marks as inconsistent is taken anew.
    pub fn dump<T>(
        &mut self,
        message: &Message,
        purpose: impl Display,
        mut read: impl FnMut(&Received<'_>) -> Result<Option<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..LISTING_ATTEMPTS {
            if let Some(entries) = self.dump_once(message, &purpose, &mut read)? {
                return Ok(entries);
            }
        }
        Err(Error::KeptChanging { purpose: purpose.to_string() })
    }

    /// One attempt of [`Socket::dump`]; `None` when the listed objects changed meanwhile.
    fn dump_once<T>(
        &mut self,
        message: &Message,
        purpose: &impl Display,
        read: &mut impl FnMut(&Received<'_>) -> Result<Option<T>, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let sequence = self.send(std::slice::from_ref(message), NLM_F_DUMP, purpose)?;
        let mut entries = Vec::new();
        let mut consistent = true;
        loop {
            let datagram = receive(&self.fd, &mut self.buffer, purpose)?;
            for answer in messages(datagram, purpose) {
                let answer = answer?;
                if answer.sequence != sequence {
                    continue;
                }
                consistent &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        outcome(&answer, purpose)?;
                        return Ok(consistent.then_some(entries));
                    }
                    _ => entries.extend(read(&answer)?),
                }
            }
        }
    }

    /// Hands the messages of the next notification to `read`; `false` when there is none now.
    ///
    /// [`Errno::NOBUFS`] inside [`Error::System`] says that some were lost.
    pub(crate) fn notification(
        &mut self,
        purpose: impl Display,
        mut read: impl FnMut(&Received<'_>),
    ) -> Result<bool, Error> {
        let datagram = match receive(&self.fd, &mut self.buffer, &purpose) {
            Ok(datagram) => datagram,
            Err(Error::NoAnswer { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        for message in messages(datagram, &purpose) {
            read(&message?);
        }
        Ok(true)
    }

    fn bound(protocol: Protocol, flags: SocketFlags, groups: u32) -> Result<Self, Error> {
        let family = match protocol {
            // NETLINK_ROUTE is 0, the default protocol.
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
            Protocol::Generic => Some(netlink::GENERIC),
        };
        let flags = SocketFlags::CLOEXEC | flags;
        let open = || {
            let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family)?;
            net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
            Ok(fd)
        };
        let fd = open().map_err(|errno: Errno| Error::system("open a netlink socket", errno))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Sends the messages as one datagram and returns the sequence number of the first.
    fn send(
        &mut self,
        batch: &[Message],
        extra_flags: u16,
        purpose: &impl Display,
    ) -> Result<u32, Error> {
        // Numbers start again before they overflow, so that a batch never wraps.
        if self.sequence > u32::MAX / 2 {
            self.sequence = 0;
        }
        let first = self.sequence + 1;
        let mut datagram = Vec::new();
        for message in batch {
            self.sequence += 1;
            message.write(self.sequence, extra_flags, &mut datagram);
        }
        let kernel = SocketAddrNetlink::new(0, 0);
        net::sendto(&self.fd, &datagram, SendFlags::empty(), &kernel)
            .map_err(|errno| Error::system(purpose, errno))?;
        Ok(first)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits for the next datagram of the kernel; [`Error::NoAnswer`] when the socket's timeout ends.
fn receive<'a>(
    fd: &OwnedFd,
    buffer: &'a mut [u8],
    purpose: &impl Display,
) -> Result<&'a [u8], Error> {
    let length = loop {
        match net::recvfrom(fd, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length, sender)) => {
                // Another process may send to this socket too; only port 0 is the kernel.
                let sender = sender.and_then(|address| SocketAddrNetlink::try_from(address).ok());
                if sender.is_some_and(|address| address.pid() == 0) {
                    break length;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Error::NoAnswer { purpose: purpose.to_string() }),
            Err(errno) => return Err(Error::system(purpose, errno)),
        }
    };
    buffer.get(..length).ok_or_else(|| Error::Malformed {
        purpose: purpose.to_string(),
        detail: format!("a datagram of {length} bytes, more than {BUFFER_BYTES}"),
    })
}

#[cfg(test)]
mod tests;
