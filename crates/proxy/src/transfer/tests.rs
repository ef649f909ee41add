use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::event::epoll::EventFlags;
use rustix::fd::AsFd;

use super::{Progress, Scratch, Transfer};
use crate::pipes::PipePool;

/// A transfer between two socket pairs: what is written to `writer` comes out at `reader`.
struct Way {
    writer: UnixStream,
    source: UnixStream,
    sink: UnixStream,
    reader: UnixStream,
    scratch: Scratch,
    transfer: Transfer,
    written: usize,
    read: usize,
}

impl Way {
    fn new(pipes: usize) -> Self {
        let (writer, source) = UnixStream::pair().unwrap();
        let (sink, reader) = UnixStream::pair().unwrap();
        for end in [&writer, &source, &sink, &reader] {
            end.set_nonblocking(true).unwrap();
        }
        let scratch = Scratch::new(PipePool::new(pipes).unwrap());
        let transfer = Transfer::default();
        Self { writer, source, sink, reader, scratch, transfer, written: 0, read: 0 }
    }

    /// Runs as if epoll had told everything there is to tell.
    fn run(&mut self) -> Progress {
        self.transfer.source_event(EventFlags::IN);
        self.transfer.sink_event(EventFlags::OUT);
        let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
        self.transfer.run(source, sink, &mut self.scratch, &mut 0)
    }

    /// Writes until no more fits.
    fn fill(&mut self) {
        loop {
            let chunk: Vec<u8> = (self.written..self.written + 4096).map(pattern).collect();
            match self.writer.write(&chunk) {
                Ok(length) => self.written += length,
                Err(_) => return,
            }
        }
    }

    /// Reads and checks what has come.
    fn drain(&mut self) {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = self.reader.read(&mut chunk) {
            for byte in &chunk[..length] {
                assert_eq!(*byte, pattern(self.read), "byte {}", self.read);
                self.read += 1;
            }
        }
    }
}

fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

#[test]
fn bytes_come_out_as_they_went_in_copied_or_spliced() {
    for pipes in [0, 1] {
        let mut way = Way::new(pipes);
        for _ in 0..50 {
            way.fill();
            assert_eq!(way.run(), Progress::Waiting);
            way.drain();
        }
        way.run();
        way.drain();
        assert!(way.written > 1 << 20, "{} bytes are no bulk", way.written);
        assert_eq!(way.read, way.written);
        assert_eq!(way.transfer.bulk >= super::BULK, pipes == 1);
        assert!(way.transfer.pending.is_none());
        assert_eq!(way.scratch.pipes.take().is_some(), pipes == 1, "the pipe is back");
    }
}

#[test]
fn nothing_is_read_while_the_sink_is_full() {
    let mut way = Way::new(0);
    let most = 100;
    let stuck_at = (0..most).find(|_| {
        let before = way.written;
        way.fill();
        way.run();
        way.written == before
    });
    assert!(stuck_at.is_some(), "the writer never had to wait");
    assert!(way.transfer.is_blocked());
    way.drain();
    assert_eq!(way.run(), Progress::Waiting);
    way.drain();
    way.run();
    way.drain();
    assert_eq!(way.read, way.written);
}

#[test]
fn the_end_follows_the_last_byte() {
    let mut way = Way::new(0);
    way.writer.write_all(&[pattern(0), pattern(1)]).unwrap();
    way.writer.shutdown(std::net::Shutdown::Write).unwrap();
    way.transfer.source_event(EventFlags::RDHUP);
    way.run();
    assert!(way.transfer.has_ended());
    let mut everything = Vec::new();
    way.reader.read_to_end(&mut everything).unwrap();
    assert_eq!(everything, [0, 1]);
}

#[test]
fn a_sink_that_is_gone_is_told() {
    let mut way = Way::new(0);
    way.writer.write_all(b"lost").unwrap();
    let (gone, _) = UnixStream::pair().unwrap();
    way.reader = gone;
    assert_eq!(way.run(), Progress::Broken);
}

#[test]
fn a_pipe_with_unwanted_bytes_comes_back_empty() {
    let mut way = Way::new(1);
    for round in 0..100 {
        way.fill();
        way.run();
        if round < 50 {
            way.drain();
        }
    }
    assert!(matches!(way.transfer.pending.as_deref(), Some(super::Pending::Piped { .. })));
    assert!(way.scratch.pipes.take().is_none());
    way.transfer.release(&mut way.scratch);
    let pipe = way.scratch.pipes.take().expect("the pipe is back");
    let nothing = rustix::io::read(&pipe.output, &mut [0; 1][..]);
    assert_eq!(nothing, Err(rustix::io::Errno::AGAIN));
}
