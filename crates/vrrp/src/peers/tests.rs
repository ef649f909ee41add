use std::time::Duration;

use super::*;

/// That of priority 200 in version 2: (256 - 200) / 256 s (RFC 3768 section 6.1).
const SKEW: Duration = Duration::from_micros(218_750);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ipv4(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn delay(peers: &Peers, own: IpAddr, gone: Option<IpAddr>) -> Duration {
    SKEW * peers.share(own, gone)
}

fn told(addresses: &[IpAddr]) -> Peers {
    Peers { told: Some(addresses.to_vec()), ..Peers::default() }
}

fn heard(addresses: &[IpAddr]) -> Peers {
    let peer = Peer { priority: 200, heard: Instant::default() };
    let heard = addresses.iter().map(|address| (*address, peer)).collect();
    Peers { heard, ..Peers::default() }
}

/// The least time between two of them.
fn closest(mut delays: Vec<Duration>) -> Duration {
    delays.sort();
    delays.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap()
}

#[test]
fn a_list_ranks_them_a_quarter_of_the_skew_apart() {
    let peers = told(&[ipv4(11), ipv4(13), ipv4(14)]);
    assert_eq!(delay(&peers, ipv4(12), None), SKEW / 2);
    assert_eq!(delay(&peers, ipv4(12), Some(ipv4(14))), SKEW / 4);
    assert_eq!(delay(&peers, ipv4(12), Some(ipv4(11))), SKEW / 2);
    assert_eq!(delay(&told(&[]), ipv4(12), None), Duration::ZERO, "alone");
}

#[test]
fn neighbouring_addresses_that_know_of_nobody_are_12_ms_apart_at_least() {
    // All that the heirs of a first holder have heard is that holder.
    for first in 1..=250 {
        let gone = ipv4(first + 3);
        let heirs = (first..first + 3).map(|last| delay(&heard(&[gone]), ipv4(last), Some(gone)));
        let apart = closest(heirs.collect());
        assert!(apart > Duration::from_millis(12), "{apart:?} from {first}");
    }
}

#[test]
fn random_link_local_addresses_are_rarely_near_one_another() {
    // A multiplicative generator (Lehmer, modulus 2^31 - 1) draws the lower halves.
    let mut number = 1_u64;
    let mut address = || {
        number = number * 48_271 % 0x7fff_ffff;
        IpAddr::V6((0xfe80_u128 << 112 | u128::from(number) << 24).into())
    };
    let tie = |_: &u32| {
        let [one, other] = [address(), address()].map(|own| delay(&heard(&[]), own, None));
        one.abs_diff(other) < Duration::from_millis(1)
    };
    // Two points of 109 ms are within one with a probability of 2 / 109.
    let ties = (0..10_000).filter(tie).count();
    assert!((100..300).contains(&ties), "{ties} of 10000");
}

#[test]
fn a_list_of_another_kind_of_address_ranks_nobody() {
    let own = ip("fe80::1");
    let hashed = delay(&heard(&[]), own, None);
    assert!(hashed > Duration::ZERO);
    assert_eq!(delay(&told(&[ipv4(11), ipv4(13)]), own, None), hashed);
    assert_eq!(delay(&told(&[ip("fd00::13")]), own, None), hashed);
    assert!(!told(&[ipv4(11)]).are_none());
    assert_eq!(delay(&told(&[ip("fe80::2"), ip("fe80::3")]), own, None), SKEW / 2);
}

#[test]
fn unicast_peers_are_a_list_until_there_is_a_better_one() {
    let mut peers = heard(&[ipv4(14)]);
    peers.set_unicast(&[ipv4(11), ipv4(13), ipv4(14)]);
    assert_eq!(delay(&peers, ipv4(12), Some(ipv4(14))), SKEW / 4);
    peers.tell(vec![ipv4(11), ipv4(14)]);
    assert_eq!(delay(&peers, ipv4(12), Some(ipv4(14))), Duration::ZERO);
}

#[test]
fn those_heard_before_are_ranked_like_those_of_a_list() {
    let gone = ipv4(14);
    let first = delay(&heard(&[gone]), ipv4(12), Some(gone));
    // 10.0.0.13 was Active once: it goes first.
    assert_eq!(delay(&heard(&[gone, ipv4(13)]), ipv4(12), Some(gone)), first + SKEW / 4);
    assert_eq!(delay(&heard(&[gone, ipv4(11)]), ipv4(12), Some(gone)), first);
}

#[test]
fn nobody_waits_for_a_whole_skew() {
    for count in 0..=100 {
        let others: Vec<IpAddr> = (0..count).map(|last| ipv4(255 - last)).collect();
        for last in 1..=150 {
            for peers in [told(&others), heard(&others)] {
                let delay = delay(&peers, ipv4(last), None);
                assert!(delay < SKEW || count > 0 && delay == SKEW, "{delay:?} of {count}");
            }
        }
    }
}
