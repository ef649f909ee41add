//! What clients and backends are like, and what they do when.

use super::super::Failure;
use crate::settings::Choice;

/// Captured from `openssl s_client -servername kubernetes`, OpenSSL 3.0.19.
pub(super) const HELLO: &[u8] = include_bytes!("../../../tests/data/client-hello-openssl.bin");

/// What a whole run is made of. Times are milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) backends: Vec<Temper>,
    pub(super) clients: Vec<ClientPlan>,
    pub(super) choice: Choice,
    pub(super) introduces: bool,
    /// The most that one read returns.
    pub(super) read: usize,
    /// Orders what happens at the same time.
    pub(super) order: u32,
}

/// What a backend does with every connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temper {
    pub(super) connect: Connect,
    pub(super) conduct: Conduct,
    /// It takes so many bytes at once, and more a millisecond later.
    pub(super) room: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    Accepts(u64),
    Refuses(u64),
    FailsAtOnce(Failure),
    Never,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Conduct {
    /// After a whole ClientHello.
    Answers(u64),
    Resets(u64),
    Ends(u64),
    Silent,
    /// Unasked.
    Greets(u64),
    EndsUnasked(u64),
    ResetsUnasked(u64),
}

#[derive(Clone, Debug)]
pub(super) struct ClientPlan {
    pub(super) comes: u64,
    pub(super) says: Vec<u8>,
    /// How much of it each time, after how long.
    pub(super) pieces: Vec<(u64, usize)>,
    pub(super) leaves: Leaves,
    /// When the contest is told of deadlines that nobody asked for.
    pub(super) alarms: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    Never,
    Ends(u64),
    Resets(u64),
}
