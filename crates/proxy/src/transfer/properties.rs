//! Both directions of a connection at random: writes, reads, half-closes and events in any order,
//! told as an edge-triggered epoll tells them and not once more.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::event::epoll::EventFlags;
use rustix::fd::AsFd;

use super::{Progress, Scratch, Transfer};
use crate::pipes::PipePool;

/// What one of the two far ends does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// It sends so many bytes, or as many as there is room for.
    Write(usize),
    /// It reads so many bytes of what has arrived.
    Read(usize),
    /// It will send nothing more.
    End,
    /// An event that means nothing new.
    Spurious,
}

fn deeds() -> impl Strategy<Value = (usize, Deed)> {
    let sizes = || prop_oneof![1 => 1..10_usize, 2 => 1..5_000_usize, 2 => 1..400_000_usize];
    let deeds = prop_oneof![
        8 => sizes().prop_map(Deed::Write),
        8 => sizes().prop_map(Deed::Read),
        1 => Just(Deed::End),
        1 => Just(Deed::Spurious),
    ];
    (0..2_usize, deeds)
}

/// A client and a server (0 and 1), and what is between them.
struct Line {
    far: [End; 2],
    /// Until both directions have ended: then both are closed, as [`Transfer::leave_end_to_close`]
    /// wants it.
    near: Option<[UnixStream; 2]>,
    scratch: Scratch,
    /// From each of them to the other.
    transfers: [Transfer; 2],
    moved: [u64; 2],
}

/// One that writes and reads, and what it has written and read so far: how much, and the hash.
struct End {
    socket: UnixStream,
    /// What it writes is told apart from what the other one does.
    seed: u64,
    written: (usize, u64),
    read: (usize, u64),
    has_ended: bool,
    has_read_end: bool,
}

/// FNV-1a (draft-eastlake-fnv), which does not care how bytes are cut into pieces.
fn hash(bytes: &[u8], begun: u64) -> u64 {
    bytes.iter().fold(begun, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

const EMPTY: (usize, u64) = (0, 0xcbf2_9ce4_8422_2325);

impl End {
    fn new(socket: UnixStream, seed: u64) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket, seed, written: EMPTY, read: EMPTY, has_ended: false, has_read_end: false }
    }

    /// Whether anything went out.
    fn write(&mut self, length: usize) -> bool {
        let at = |position: usize| (position as u64).wrapping_mul(self.seed) >> 32;
        let bytes: Vec<_> =
            (self.written.0..self.written.0 + length).map(|it| at(it) as u8).collect();
        // It is full, or the other end has closed: then nothing is new.
        let Ok(written) = self.socket.write(&bytes) else { return false };
        self.written = (self.written.0 + written, hash(&bytes[..written], self.written.1));
        true
    }

    fn read(&mut self, length: usize) {
        let mut bytes = vec![0; length];
        match self.socket.read(&mut bytes) {
            Ok(0) => self.has_read_end = true,
            Ok(length) => {
                assert!(!self.has_read_end);
                self.read = (self.read.0 + length, hash(&bytes[..length], self.read.1));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

impl Line {
    fn new(pipes: usize) -> Self {
        let (client, near_client) = UnixStream::pair().unwrap();
        let (server, near_server) = UnixStream::pair().unwrap();
        let near = [near_client, near_server];
        near.iter().for_each(|it| it.set_nonblocking(true).unwrap());
        Self {
            far: [End::new(client, 0x9e37_79b9_7f4a_7c15), End::new(server, 0xd1b5_4a32_d192_ed03)],
            near: Some(near),
            scratch: Scratch::new(PipePool::new(pipes).unwrap()),
            transfers: Default::default(),
            moved: [0; 2],
        }
    }

    /// An event of one of the two sockets is one for both directions.
    fn event(&mut self, of: usize, flags: EventFlags) {
        self.transfers[of].source_event(flags);
        self.transfers[1 - of].sink_event(flags);
        self.run();
    }

    fn run(&mut self) {
        for turn in 0.. {
            assert!(turn < 1_000, "it never comes to rest");
            let Some(near) = &self.near else { return };
            let mut is_unfinished = false;
            for from in [0, 1] {
                if self.transfers[1 - from].has_ended() {
                    self.transfers[from].leave_end_to_close();
                }
                let (source, sink) = (near[from].as_fd(), near[1 - from].as_fd());
                let transfer = &mut self.transfers[from];
                match transfer.run(source, sink, &mut self.scratch, &mut self.moved[from]) {
                    Progress::Waiting => {}
                    Progress::Unfinished => is_unfinished = true,
                    Progress::Broken => panic!("nobody has broken it"),
                }
            }
            if self.transfers.iter().all(Transfer::has_ended) {
                self.near = None;
            }
            if !is_unfinished {
                return;
            }
        }
    }

    fn act(&mut self, who: usize, deed: Deed) {
        let end = &mut self.far[who];
        match deed {
            Deed::Write(length) if !end.has_ended => {
                if end.write(length) {
                    self.event(who, EventFlags::IN);
                }
            }
            Deed::End if !end.has_ended => {
                end.has_ended = true;
                end.socket.shutdown(Shutdown::Write).unwrap();
                self.event(who, EventFlags::IN | EventFlags::RDHUP);
            }
            Deed::Write(_) | Deed::End => {}
            Deed::Read(length) => {
                end.read(length);
                self.event(who, EventFlags::OUT);
            }
            Deed::Spurious => self.event(who, EventFlags::IN | EventFlags::OUT),
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let (sent, got) = (&self.far[from], &self.far[to]);
            let moved = self.moved[from] as usize;
            assert!(got.read.0 <= moved && moved <= sent.written.0);
            let has_ended = self.transfers[from].has_ended();
            assert!(sent.has_ended || !(has_ended || got.has_read_end), "an end that nobody sent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order_both_ways_and_then_each_end(
        deeds in vec(deeds(), 0..100),
        pipes in 0..3_usize,
    ) {
        let mut line = Line::new(pipes);
        for (who, deed) in deeds {
            line.act(who, deed);
        }
        for who in [0, 1] {
            line.act(who, Deed::End);
        }
        for _ in 0..10_000 {
            for who in [0, 1] {
                line.act(who, Deed::Read(1 << 16));
            }
            if line.far.iter().all(|end| end.has_read_end) {
                break;
            }
        }
        let [client, server] = &line.far;
        prop_assert!(client.has_read_end && server.has_read_end);
        prop_assert_eq!((server.read, client.read), (client.written, server.written));
        prop_assert_eq!(line.moved, [client.written.0 as u64, server.written.0 as u64]);
        for transfer in &mut line.transfers {
            transfer.release(&mut line.scratch);
        }
        let left = std::iter::from_fn(|| line.scratch.pipes.take()).count();
        prop_assert_eq!(left, pipes, "the pipes are back");
    }
}
