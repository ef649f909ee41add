use std::collections::BTreeMap;

/// What was sent, received and dropped since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements accepted.
    pub received: u64,
    /// Packets dropped, by [`DropReason::label`](crate::DropReason::label).
    pub dropped: BTreeMap<&'static str, u64>,
    /// Accepted advertisements of version 3 over IPv4, by the
    /// [`Checksum::label`](crate::Checksum::label) they came with.
    pub checksums: BTreeMap<&'static str, u64>,
    /// Changes of state.
    pub transitions: u64,
    /// Times this router became Active.
    pub became_active: u64,
    /// Accepted advertisements whose list of addresses differs from ours.
    pub address_mismatch: u64,
}
