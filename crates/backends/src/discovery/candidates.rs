//! Through which apiserver to read, and through which next.

use std::net::SocketAddr;

use crate::health::Health;

/// An apiserver that discovery may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) health: Health,
    /// Whether it is the one of this machine.
    pub(crate) local: bool,
}

/// The order in which to try `candidates`: the local one, the healthy ones, those not checked, and
/// last, for want of better, the unhealthy ones. Within each group `turn` says who is first.
pub(super) fn order(candidates: &[Candidate], turn: usize) -> Vec<SocketAddr> {
    let mut groups = [const { Vec::new() }; 4];
    for candidate in candidates {
        let group = match candidate.health {
            Health::Unhealthy => 3,
            _ if candidate.local => 0,
            Health::Healthy => 1,
            Health::Unknown => 2,
        };
        groups[group].push(candidate.address);
    }
    for group in &mut groups {
        let first = turn.checked_rem(group.len()).unwrap_or(0);
        group.rotate_left(first);
    }
    groups.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(port: u16, health: Health, local: bool) -> Candidate {
        Candidate { address: SocketAddr::from(([127, 0, 0, 1], port)), health, local }
    }

    fn ports(candidates: &[Candidate], turn: usize) -> Vec<u16> {
        order(candidates, turn).iter().map(SocketAddr::port).collect()
    }

    #[test]
    fn local_then_healthy_then_unknown_then_unhealthy() {
        let candidates = [
            candidate(1, Health::Unhealthy, false),
            candidate(2, Health::Unknown, false),
            candidate(3, Health::Healthy, false),
            candidate(4, Health::Unknown, true),
        ];
        assert_eq!(ports(&candidates, 0), [4, 3, 2, 1]);
        let local = [candidate(1, Health::Unhealthy, true), candidate(2, Health::Unknown, false)];
        assert_eq!(ports(&local, 0), [2, 1], "the local one has no privilege when it is unhealthy");
        assert!(ports(&[], 7).is_empty());
    }

    #[test]
    fn healthy_ones_take_turns() {
        let candidates = [1, 2, 3].map(|port| candidate(port, Health::Healthy, false));
        assert_eq!(ports(&candidates, 0), [1, 2, 3]);
        assert_eq!(ports(&candidates, 1), [2, 3, 1]);
        assert_eq!(ports(&candidates, 5), [3, 1, 2]);
    }
}
