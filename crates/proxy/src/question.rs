//! What a client sends before anybody has answered it.

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::hello::FirstBytes;

/// A client's first bytes, kept as long as they may be sent to another backend.
#[derive(Debug)]
pub(crate) struct Question {
    bytes: Vec<u8>,
    kind: FirstBytes,
    ended: bool,
    /// What epoll said of the client and nobody has acted on.
    flags: EventFlags,
}

/// What a client had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing, or something that can wait for the answer.
    Nothing,
    /// More of the question.
    More,
    /// Something that only one backend may get, in the question or still to be read.
    Unrepeatable,
    /// It has reset the connection.
    Gone,
}

impl Question {
    /// Nothing heard yet of a client that may have sent something.
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            kind: FirstBytes::Unfinished,
            ended: false,
            flags: EventFlags::IN,
        }
    }

    /// Everything heard so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether an answer can be expected.
    pub(crate) fn is_complete(&self) -> bool {
        self.kind == FirstBytes::ClientHello
    }

    /// Whether the client has ended after its ClientHello.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes an event of the client.
    pub(crate) fn event(&mut self, flags: EventFlags) {
        self.flags |= flags;
    }

    /// Reads once, but what follows a ClientHello only if it is the end: the rest waits for the
    /// answer. At most about `most` bytes are kept.
    pub(crate) fn hear(&mut self, client: &OwnedFd, buffer: &mut [u8], most: usize) -> Heard {
        let worth_reading = match self.kind {
            FirstBytes::ClientHello if self.ended => EventFlags::empty(),
            FirstBytes::ClientHello => EventFlags::RDHUP,
            FirstBytes::Unfinished | FirstBytes::Other => EventFlags::IN | EventFlags::RDHUP,
        };
        if !self.flags.intersects(worth_reading) {
            return Heard::Nothing;
        }
        let length = match recv(client, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) if self.is_complete() => {
                self.ended = true;
                return Heard::More;
            }
            // The end will be read again.
            Ok((0, _)) => return Heard::Unrepeatable,
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => {
                self.flags.remove(EventFlags::IN);
                return Heard::Nothing;
            }
            Err(_) => return Heard::Gone,
        };
        if length < buffer.len() {
            // A short read has taken everything; see `Transfer`.
            self.flags.remove(EventFlags::IN);
        }
        self.bytes.extend_from_slice(&buffer[..length]);
        self.kind = FirstBytes::of(&self.bytes);
        match self.kind {
            FirstBytes::Other => Heard::Unrepeatable,
            _ if self.bytes.len() > most => Heard::Unrepeatable,
            _ => Heard::More,
        }
    }

    /// What of it comes after the first `delivered` bytes, and what epoll said of the client and
    /// nobody has acted on.
    pub(crate) fn take_rest(&mut self, delivered: usize) -> (Vec<u8>, EventFlags) {
        (self.bytes.split_off(delivered), self.flags)
    }
}
