//! Pipes for bulk transfers: a few per thread, lent only while bytes are in flight.

use std::io;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// How much a pipe shall hold, where the kernel allows it (`fs.pipe-max-size`).
const CAPACITY: usize = 1 << 20;

/// What a pipe holds otherwise (pipe(7)).
const DEFAULT_CAPACITY: usize = 1 << 16;

/// An empty pipe, or one that a connection fills.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Bytes come out here.
    pub(crate) output: OwnedFd,
    /// Bytes go in here.
    pub(crate) input: OwnedFd,
    /// Bytes it holds at most.
    pub(crate) capacity: usize,
}

/// The pipes of one thread that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct PipePool(Vec<Pipe>);

impl PipePool {
    /// A pool of `count` pipes.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let pipes: Result<_, Errno> = (0..count).map(|_| Pipe::new()).collect();
        Ok(Self(pipes?))
    }

    /// Lends an empty pipe, if one is left.
    pub(crate) fn take(&mut self) -> Option<Pipe> {
        self.0.pop()
    }

    /// Takes back a pipe that is empty again.
    pub(crate) fn put(&mut self, pipe: Pipe) {
        self.0.push(pipe);
    }

    /// Takes back a pipe whose bytes nobody wants any more.
    pub(crate) fn put_used(&mut self, pipe: Pipe, buffer: &mut [u8]) {
        loop {
            match rustix::io::read(&pipe.output, &mut *buffer) {
                Ok(1..) | Err(Errno::INTR) => {}
                // Empty: both ends are ours, so reading says EAGAIN and never "end of file".
                Err(Errno::AGAIN) => return self.put(pipe),
                // A pipe that cannot be emptied must not come back.
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl Pipe {
    fn new() -> Result<Self, Errno> {
        let (output, input) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Refused beyond fs.pipe-user-pages-soft or fs.pipe-max-size: the default serves too.
        let capacity = fcntl_setpipe_size(&input, CAPACITY).unwrap_or(DEFAULT_CAPACITY);
        Ok(Self { output, input, capacity })
    }
}
