//! Which of equal heirs goes first.
//!
//! All nodes have the same priority, so the down intervals of all heirs end at the same moment, and
//! all of them claim the addresses; the one that stays is not always the one that neighbours heard
//! last. So each heir lowers its priority by its rank (a tracked file): its skew time (RFC 9568
//! section 6.1) is longer by some milliseconds, and it hears the first one before its own claim. A
//! holder has rank 0, more than any heir, so that nobody takes over from it.
//!
//! The first advertisement of a new holder still has the priority of an heir. A node that has just
//! started must not think little of it: it goes behind all that have not.

use std::net::IpAddr;

/// The rank of whoever holds the addresses.
pub(crate) const HOLDER: u8 = 0;

/// So many heirs have ranks of their own.
const HEIRS: u8 = 7;

/// Of one that has just started.
const LAST: u8 = 2 * HEIRS + 1;

/// What a rank takes off the priority: 2/256 of the interval between advertisements for the next heir,
/// 8 ms at 1 s. As little as that, for priorities that differ on purpose.
const STEP: i64 = 2;

/// The name of the tracked file in keepalived's configuration.
pub(crate) fn file_name(instance: &str) -> String {
    format!("cplb_rank_{instance}")
}

/// How much each rank changes the priority: never so much that a ready heir falls to the half of one
/// that is not ready. 0 where there is no room.
pub(crate) fn weight(priority: u8) -> i64 {
    let room = i64::from(priority.div_ceil(2)) - 1;
    -STEP.min(room / i64::from(LAST))
}

/// The rank of the heir at `own` among the peers, which may name it too: the higher address goes
/// first, as it would win the tie (RFC 9568 section 6.4.3). Where they are not known, those of
/// neighbouring addresses part.
pub(crate) fn rank(own: Option<IpAddr>, peers: &[IpAddr], has_just_started: bool) -> u8 {
    let before = own.map_or(0, |own| before(own, peers)).min(HEIRS - 1);
    let first = if has_just_started { LAST - HEIRS } else { HOLDER };
    first + 1 + before
}

/// How many others go before.
fn before(own: IpAddr, peers: &[IpAddr]) -> u8 {
    let comparable = |peer: &&IpAddr| kind(**peer) == kind(own);
    let mut peers = peers.iter().filter(comparable).peekable();
    if peers.peek().is_none() {
        return last_byte(own) % HEIRS;
    }
    u8::try_from(peers.filter(|peer| **peer > own).count()).unwrap_or(u8::MAX)
}

/// Over IPv6 routers speak from link-local addresses, which the list of a cluster does not name.
fn kind(address: IpAddr) -> (bool, bool) {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    (address.is_ipv4(), link_local)
}

fn last_byte(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &str, peers: &[&str]) -> u8 {
        let peers: Vec<IpAddr> = peers.iter().map(|it| it.parse().unwrap()).collect();
        rank(Some(own.parse().unwrap()), &peers, false)
    }

    #[test]
    fn the_highest_address_goes_first() {
        let peers = ["10.0.0.9", "10.0.0.11", "10.0.0.10", "fd00::99"];
        assert_eq!(["10.0.0.9", "10.0.0.10", "10.0.0.11"].map(|own| of(own, &peers)), [3, 2, 1]);
        // The list may leave this node out.
        assert_eq!(of("10.0.0.12", &peers), 1);
        let many: Vec<String> = (1..=99).map(|last| format!("10.0.1.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(of("10.0.0.1", &many), 7);
    }

    #[test]
    fn without_a_list_neighbouring_addresses_part() {
        let own = ["fe80::11", "fe80::12", "fe80::13"];
        assert_eq!(own.map(|own| of(own, &["fd00::11", "fd00::12"])), [4, 5, 6]);
        assert_eq!(["10.0.0.7", "10.0.0.8"].map(|own| of(own, &[])), [1, 2]);
        assert_eq!(rank(None, &[], false), 1);
    }

    #[test]
    fn who_has_just_started_goes_behind_all_others() {
        let peers = ["10.0.0.9", "10.0.0.10"].map(|it| it.parse().unwrap());
        assert_eq!(peers.map(|own| rank(Some(own), &peers, true)), [10, 9]);
        assert_eq!(rank(None, &[], true), 9);
    }

    /// A node that is not ready has half of its priority ([`crate::variables::weight`]).
    #[test]
    fn the_last_heir_is_above_the_first_that_is_not_ready() {
        for (priority, expected) in
            [(254, -2), (200, -2), (61, -2), (60, -1), (31, -1), (30, 0), (1, 0)]
        {
            let weight = weight(priority);
            assert_eq!(weight, expected, "{priority}");
            let last = i64::from(priority) + weight * i64::from(LAST);
            let not_ready = i64::from(priority) + crate::variables::weight(priority);
            assert!(last > not_ready, "{priority}");
        }
    }
}
