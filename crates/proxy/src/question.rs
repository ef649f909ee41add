//! What a client sends before anybody has answered it. No sockets: whoever reads them tells.

use rustix::event::epoll::EventFlags;

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

/// What a read of the client's socket brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading<'a> {
    /// These bytes; after a `short` read, nothing more was there.
    Bytes { bytes: &'a [u8], short: bool },
    /// The end of the stream.
    End,
    /// Nothing for now.
    Nothing,
    /// The connection is broken.
    Broken,
}

/// What a client had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing new.
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

    /// Whether the client is to be read. What follows a ClientHello is, only if it is the end: the
    /// rest waits for the answer.
    pub(crate) fn wants_reading(&self) -> bool {
        let worth_reading = match self.kind {
            FirstBytes::ClientHello if self.ended => EventFlags::empty(),
            FirstBytes::ClientHello => EventFlags::RDHUP,
            FirstBytes::Unfinished | FirstBytes::Other => EventFlags::IN | EventFlags::RDHUP,
        };
        self.flags.intersects(worth_reading)
    }

    /// Takes what one read brought. At most about `most` bytes are kept for more than one backend.
    pub(crate) fn hear(&mut self, reading: Reading<'_>, most: usize) -> Heard {
        let (bytes, short) = match reading {
            Reading::Bytes { bytes, short } => (bytes, short),
            Reading::End if self.is_complete() => {
                self.ended = true;
                return Heard::More;
            }
            // The end will be read again.
            Reading::End => return Heard::Unrepeatable,
            Reading::Nothing => {
                self.flags.remove(EventFlags::IN | EventFlags::RDHUP);
                return Heard::Nothing;
            }
            Reading::Broken => return Heard::Gone,
        };
        if short {
            // It has taken everything; see `Transfer`.
            self.flags.remove(EventFlags::IN);
        }
        self.bytes.extend_from_slice(bytes);
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
