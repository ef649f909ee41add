//! Moves the bytes of one direction: small reads are copied, bulk is spliced.

use rustix::event::epoll::EventFlags;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{SpliceFlags, splice};

use crate::pipes::{Pipe, PipePool};

/// What the transfers of one thread share.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Bytes between a read and the write that follows at once.
    pub(crate) buffer: Box<[u8]>,
    /// Pipes for bulk.
    pub(crate) pipes: PipePool,
}

/// Size of the buffer between a read and a write.
pub(crate) const BUFFER: usize = 64 * 1024;

impl Scratch {
    /// The buffer, and these pipes.
    pub(crate) fn new(pipes: PipePool) -> Self {
        Self { buffer: vec![0; BUFFER].into_boxed_slice(), pipes }
    }
}

/// One direction of an established connection.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    /// Bytes read that the sink had no room for. Nothing more is read until they are gone.
    pending: Option<Box<Pending>>,
    /// The source may have bytes or an end.
    readable: bool,
    /// The source has nothing more to come: read up to its end.
    ending: bool,
    /// The sink has no room.
    blocked: bool,
    /// The end of the source has been passed on.
    ended: bool,
    /// The source is broken: no end of it is passed on.
    breaking: bool,
    /// Both sockets will be closed at the end of the source, which tells the sink.
    closes: bool,
    /// How sure it is that this direction is bulk.
    bulk: u8,
}

#[derive(Debug)]
enum Pending {
    Bytes { bytes: Vec<u8>, sent: usize },
    Piped { pipe: Pipe, length: usize },
}

/// Where a transfer stands after it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for an event.
    Waiting,
    /// It had its share of the thread's time and wants more.
    Unfinished,
    /// One of the two sockets is broken.
    Broken,
}

/// Full reads until a direction counts as bulk.
const BULK: u8 = 3;

/// A read below this is small: it ends what looked like bulk, a splice only after some more.
const SMALL: usize = 16 * 1024;

/// Bytes one transfer may move before other connections have their turn.
const SHARE: u64 = 4 << 20;

impl Transfer {
    /// Whether the end of the source has been passed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the sink has no room, so that its events must be asked for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether there is nothing to move, neither now nor later but for new bytes.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.pending.is_none() && !self.readable && !self.ended
    }

    /// Takes an event of the source.
    pub(crate) fn source_event(&mut self, flags: EventFlags) {
        self.readable |= flags
            .intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.ending |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// Takes an event of the sink.
    pub(crate) fn sink_event(&mut self, flags: EventFlags) {
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.blocked = false;
        }
    }

    /// The source has ended, and the sink has been told so already.
    pub(crate) fn set_ended(&mut self) {
        self.ended = true;
    }

    /// The other direction has ended: the close of both sockets will pass this end on.
    pub(crate) fn leave_end_to_close(&mut self) {
        self.closes = true;
    }

    /// A write to the source has failed. That took the error away, and what can still be read will
    /// seem to end well.
    pub(crate) fn expect_break(&mut self) {
        self.breaking = true;
        self.readable = true;
    }

    /// Sends `bytes`, which come before anything from the source; what the sink has no room for
    /// is kept. The transfer must not hold other bytes.
    pub(crate) fn offer(&mut self, bytes: &[u8], sink: BorrowedFd<'_>) -> Result<(), Errno> {
        let sent = self.send(bytes, sink)?;
        if sent < bytes.len() {
            self.pending =
                Some(Box::new(Pending::Bytes { bytes: bytes[sent..].to_vec(), sent: 0 }));
        }
        Ok(())
    }

    /// Moves what can be moved now, and adds it to `moved`.
    pub(crate) fn run(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        scratch: &mut Scratch,
        moved: &mut u64,
    ) -> Progress {
        let begin = *moved;
        loop {
            let step = match self.pending {
                Some(_) if self.blocked => return Progress::Waiting,
                Some(_) => self.flush(sink, &mut scratch.pipes),
                None if self.ended || !self.readable => return Progress::Waiting,
                None if *moved - begin >= SHARE => return Progress::Unfinished,
                None if self.bulk >= BULK => self.fill_pipe(source, sink, scratch, moved),
                None => self.copy(source, sink, &mut scratch.buffer, moved),
            };
            match step {
                Ok(()) | Err(Errno::INTR) => {}
                Err(_) => return Progress::Broken,
            }
        }
    }

    /// Gives back what it holds.
    pub(crate) fn release(&mut self, scratch: &mut Scratch) {
        if let Some(Pending::Piped { pipe, .. }) = self.pending.take().map(|pending| *pending) {
            scratch.pipes.put_used(pipe, &mut scratch.buffer);
        }
    }

    fn copy(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        buffer: &mut [u8],
        moved: &mut u64,
    ) -> Result<(), Errno> {
        let (length, _) = match recv(source, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::AGAIN) => return self.nothing_to_read(),
            received => received?,
        };
        if length == 0 {
            return self.end(sink);
        }
        // A short read has taken everything (epoll(7)), so that asking again would be a wasted
        // call; the end of the stream would have been announced.
        self.readable = length == buffer.len() || self.ending;
        if length == buffer.len() {
            self.bulk += 1;
        } else if length < SMALL {
            self.bulk = 0;
        }
        *moved += length as u64;
        self.offer(&buffer[..length], sink)
    }

    fn fill_pipe(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        scratch: &mut Scratch,
        moved: &mut u64,
    ) -> Result<(), Errno> {
        let Some(pipe) = scratch.pipes.take() else {
            // All pipes are in flight. One full read does not raise the count beyond this.
            self.bulk = BULK - 1;
            return self.copy(source, sink, &mut scratch.buffer, moved);
        };
        let filled = splice(source, None, &pipe.input, None, pipe.capacity, splice_flags());
        let length = match filled {
            Ok(length @ 1..) => length,
            nothing => {
                scratch.pipes.put(pipe);
                return match nothing {
                    Err(Errno::AGAIN) => self.nothing_to_read(),
                    Err(error) => Err(error),
                    Ok(_) => self.end(sink),
                };
            }
        };
        if length < SMALL {
            self.bulk -= 1;
        } else {
            self.bulk = self.bulk.saturating_add(1);
        }
        *moved += length as u64;
        self.pending = Some(Box::new(Pending::Piped { pipe, length }));
        self.flush(sink, &mut scratch.pipes)
    }

    /// Sends pending bytes until they are gone or the sink is full.
    fn flush(&mut self, sink: BorrowedFd<'_>, pipes: &mut PipePool) -> Result<(), Errno> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        match &mut *pending {
            Pending::Bytes { bytes, sent } => {
                match self.send(&bytes[*sent..], sink) {
                    Ok(length) => *sent += length,
                    error => {
                        error?;
                    }
                }
                if *sent < bytes.len() {
                    self.pending = Some(pending);
                }
            }
            Pending::Piped { pipe, length } => {
                while *length > 0 && !self.blocked {
                    match splice(&pipe.output, None, sink, None, *length, splice_flags()) {
                        Ok(sent) => *length -= sent,
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => self.blocked = true,
                        Err(error) => {
                            // The pipe goes back through `release`.
                            self.pending = Some(pending);
                            return Err(error);
                        }
                    }
                }
                if *length > 0 {
                    self.pending = Some(pending);
                } else if let Pending::Piped { pipe, .. } = *pending {
                    pipes.put(pipe);
                }
            }
        }
        Ok(())
    }

    /// Sends until everything is gone or the sink is full. Only EAGAIN tells that it is full: after
    /// it, and only then, the kernel promises an event.
    fn send(&mut self, bytes: &[u8], sink: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(sink, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(length) => sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn nothing_to_read(&mut self) -> Result<(), Errno> {
        self.readable = false;
        Ok(())
    }

    fn end(&mut self, sink: BorrowedFd<'_>) -> Result<(), Errno> {
        self.readable = false;
        if self.breaking {
            return Err(Errno::CONNRESET);
        }
        self.ended = true;
        if self.closes { Ok(()) } else { shutdown(sink, Shutdown::Write) }
    }
}

/// Even on a non-blocking socket, splice waits for the pipe unless told otherwise (splice(2)).
fn splice_flags() -> SpliceFlags {
    SpliceFlags::NONBLOCK | SpliceFlags::MOVE
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
