use std::net::IpAddr;

use super::{Network, NetworkError};

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_network_contains_what_shares_its_first_bits() {
    for (text, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("192.0.2.128/25", "192.0.2.129", "192.0.2.127"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("::1", "::1", "::2"),
    ] {
        assert!(network(text).contains(address(inside)), "{inside} is in {text}");
        assert!(!network(text).contains(address(outside)), "{outside} is not in {text}");
    }
}

#[test]
fn an_ipv4_address_mapped_into_ipv6_counts_as_ipv4() {
    assert!(network("10.0.0.0/8").contains(address("::ffff:10.1.2.3")));
    assert!(!network("::/0").contains(address("::ffff:10.1.2.3")));
}

#[test]
fn the_whole_of_a_family_is_a_network() {
    assert!(network("0.0.0.0/0").contains(address("255.1.2.3")));
    assert!(network("::/0").contains(address("2001:db8::1")));
    assert!(!network("0.0.0.0/0").contains(address("2001:db8::1")));
}

#[test]
fn what_is_no_network_says_why() {
    let error = |text: &str| text.parse::<Network>().unwrap_err();
    assert_eq!(error("ten/8"), NetworkError::Address("ten".to_owned()));
    assert_eq!(
        error("10.0.0.0/33"),
        NetworkError::PrefixLength { text: "33".to_owned(), most: 32 }
    );
    assert_eq!(
        error("10.0.0.1/8").to_string(),
        "10.0.0.1/8 names one address of the network 10.0.0.0/8: write 10.0.0.0/8, \
         or 10.0.0.1/32 for that address alone"
    );
}
