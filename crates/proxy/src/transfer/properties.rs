//! One direction at random: writes, reads, half-closes and events in any order, told as an
//! edge-triggered epoll tells them and not once more.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::event::epoll::EventFlags;
use rustix::fd::AsFd;

use super::{Progress, Scratch, Transfer};
use crate::pipes::PipePool;

#[derive(Clone, Copy, Debug)]
enum Deed {
    /// The source gets so many bytes, or as many as it has room for.
    Write(usize),
    /// So many bytes of what has arrived are read.
    Read(usize),
    /// Nothing more will be written.
    End,
    /// An event that means nothing new.
    Spurious,
}

fn deeds() -> impl Strategy<Value = Deed> {
    let sizes = || prop_oneof![1 => 1..10_usize, 2 => 1..5_000_usize, 2 => 1..400_000_usize];
    prop_oneof![
        8 => sizes().prop_map(Deed::Write),
        8 => sizes().prop_map(Deed::Read),
        1 => Just(Deed::End),
        1 => Just(Deed::Spurious),
    ]
}

/// A transfer, and the far ends of its two connections.
struct Way {
    writer: UnixStream,
    source: UnixStream,
    sink: UnixStream,
    reader: UnixStream,
    scratch: Scratch,
    transfer: Transfer,
    written: usize,
    read: usize,
    moved: u64,
    has_ended: bool,
}

/// No two positions near each other have the same byte.
fn pattern(position: usize) -> u8 {
    (position % 251) as u8
}

impl Way {
    fn new(pipes: usize) -> Self {
        let (writer, source) = UnixStream::pair().unwrap();
        let (sink, reader) = UnixStream::pair().unwrap();
        for end in [&writer, &source, &sink, &reader] {
            end.set_nonblocking(true).unwrap();
        }
        Self {
            writer,
            source,
            sink,
            reader,
            scratch: Scratch::new(PipePool::new(pipes).unwrap()),
            transfer: Transfer::default(),
            written: 0,
            read: 0,
            moved: 0,
            has_ended: false,
        }
    }

    fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 1_000, "it never comes to rest");
            let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
            match self.transfer.run(source, sink, &mut self.scratch, &mut self.moved) {
                Progress::Waiting => return,
                Progress::Unfinished => {}
                Progress::Broken => panic!("nobody has broken it"),
            }
        }
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Write(length) if !self.has_ended => {
                let bytes: Vec<_> = (self.written..self.written + length).map(pattern).collect();
                // It is full: then nothing is new at the source either.
                let Ok(written) = self.writer.write(&bytes) else { return };
                self.written += written;
                self.transfer.source_event(EventFlags::IN);
            }
            Deed::End if !self.has_ended => {
                self.has_ended = true;
                self.writer.shutdown(Shutdown::Write).unwrap();
                self.transfer.source_event(EventFlags::IN | EventFlags::RDHUP);
            }
            Deed::Write(_) | Deed::End => {}
            Deed::Read(length) => {
                self.read(length);
                self.transfer.sink_event(EventFlags::OUT);
            }
            Deed::Spurious => {
                self.transfer.source_event(EventFlags::IN);
                self.transfer.sink_event(EventFlags::OUT);
            }
        }
        self.run();
        assert!(self.read as u64 <= self.moved && self.moved <= self.written as u64);
    }

    /// Reads and checks; says whether it was the end.
    fn read(&mut self, length: usize) -> bool {
        let mut bytes = vec![0; length];
        match self.reader.read(&mut bytes) {
            Ok(0) => true,
            Ok(length) => {
                for byte in &bytes[..length] {
                    assert_eq!(*byte, pattern(self.read), "byte {}", self.read);
                    self.read += 1;
                }
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order_and_then_the_end(
        deeds in vec(deeds(), 0..60),
        pipes in 0..2_usize,
    ) {
        let mut way = Way::new(pipes);
        for deed in deeds {
            way.act(deed);
            prop_assert!(way.has_ended || !way.transfer.has_ended(), "an end that nobody sent");
        }
        way.act(Deed::End);
        let arrived = (0..10_000).any(|_| {
            let is_end = way.read(1 << 16);
            way.transfer.sink_event(EventFlags::OUT);
            way.run();
            is_end
        });
        prop_assert!(arrived && way.transfer.has_ended());
        prop_assert_eq!((way.read, way.moved), (way.written, way.written as u64));
        way.transfer.release(&mut way.scratch);
        let left = std::iter::from_fn(|| way.scratch.pipes.take()).count();
        prop_assert_eq!(left, pipes, "the pipe is back");
    }
}
