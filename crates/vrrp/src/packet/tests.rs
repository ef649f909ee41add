use super::*;

// Captured from keepalived 2.2.7 (see vectors/README.md): VRID 51, priority 100, 1 s.
const V2_PASSWORD: &str = "21336401010101e30a0500647365637265743132";
const V2_NO_AUTHENTICATION: &str = "21335a0100017a610a0500640000000000000000";
const V3_GROUP: &str = "31336401006475690a050064";
const V3_GROUP_RFC_9568: &str = "3133640100645ffe0a050064";
const V3_UNICAST: &str = "3133640100644b750a050064";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn parse(
    hex: &str,
    source: &str,
    destination: &str,
) -> Result<(Advertisement, Checksum), DropReason> {
    Advertisement::parse(&bytes(hex), ip(source), ip(destination))
}

fn advertisement(version: Version, priority: u8, authentication: Authentication) -> Advertisement {
    Advertisement {
        version,
        virtual_router_id: 51,
        priority,
        interval: Duration::from_secs(1),
        authentication,
        addresses: vec![ip("10.5.0.100")],
    }
}

#[test]
fn version_2_with_password_as_keepalived_sends_it() {
    let expected = advertisement(Version::V2, 100, Authentication::Password(*b"secret12"));

    assert_eq!(
        parse(V2_PASSWORD, "10.5.0.1", "224.0.0.18"),
        Ok((expected.clone(), Checksum::MessageOnly))
    );
    let emitted = expected.emit(ip("10.5.0.1"), ip("224.0.0.18"), Checksum::default());
    assert_eq!(emitted, bytes(V2_PASSWORD));
}

#[test]
fn version_2_without_authentication_carries_eight_zero_bytes() {
    let expected = advertisement(Version::V2, 90, Authentication::None);

    assert_eq!(
        parse(V2_NO_AUTHENTICATION, "10.5.0.2", "10.5.0.1"),
        Ok((expected.clone(), Checksum::MessageOnly))
    );
    let emitted = expected.emit(ip("10.5.0.2"), ip("10.5.0.1"), Checksum::default());
    assert_eq!(emitted, bytes(V2_NO_AUTHENTICATION));
}

#[test]
fn a_short_password_is_filled_up_with_zeros() {
    // Published in osixia/docker-keepalived#20.
    let hex = "213333010101bb25c0a801ee6430636b65720000";
    let (advertisement, _) = parse(hex, "192.168.1.89", "192.168.1.141").unwrap();

    assert_eq!(advertisement.authentication, Authentication::password("d0cker"));
    assert_eq!(advertisement.priority, 51);
    assert_eq!(advertisement.addresses, [ip("192.168.1.238")]);

    let leaving = Advertisement { priority: 0, ..advertisement };
    let emitted = leaving.emit(ip("192.168.1.89"), ip("192.168.1.141"), Checksum::default());
    assert_eq!(emitted, bytes("213300010101ee25c0a801ee6430636b65720000"));
}

#[test]
fn version_3_over_ipv4_in_both_checksum_dialects() {
    let expected = advertisement(Version::V3, 100, Authentication::None);

    for (hex, destination, dialect) in [
        (V3_GROUP, "224.0.0.18", Checksum::PseudoHeader),
        (V3_GROUP_RFC_9568, "224.0.0.18", Checksum::MessageOnly),
        (V3_UNICAST, "10.5.0.2", Checksum::PseudoHeader),
    ] {
        assert_eq!(parse(hex, "10.5.0.1", destination), Ok((expected.clone(), dialect)));
        assert_eq!(expected.emit(ip("10.5.0.1"), ip(destination), dialect), bytes(hex));
    }
}

#[test]
fn version_3_packets_of_others() {
    // Published in acassen/keepalived#1490 and #1175.
    let (three, _) =
        parse("310296030064082db9cb70010a0000010a000801", "10.0.0.3", "224.0.0.18").unwrap();
    assert_eq!(three.addresses, [ip("185.203.112.1"), ip("10.0.0.1"), ip("10.0.8.1")]);
    assert_eq!((three.virtual_router_id, three.priority), (2, 150));

    let (unicast, _) = parse("3158c60100649c190ac34ce3", "10.1.0.3", "10.1.0.1").unwrap();
    assert_eq!((unicast.virtual_router_id, unicast.priority), (88, 198));
}

#[test]
fn version_3_over_ipv6() {
    let hex = "31335a010064c5c7fd050000000000000000000000000100";
    let expected = Advertisement {
        addresses: vec![ip("fd05::100")],
        ..advertisement(Version::V3, 90, Authentication::None)
    };
    let (source, destination) = ("fe80::88a7:6aff:fe85:c04e", "ff02::12");

    assert_eq!(parse(hex, source, destination), Ok((expected.clone(), Checksum::PseudoHeader)));
    assert_eq!(expected.emit(ip(source), ip(destination), Checksum::MessageOnly), bytes(hex));
}

#[test]
fn what_is_no_advertisement_is_refused_by_name() {
    let from = |hex: &str| parse(hex, "10.5.0.1", "224.0.0.18").unwrap_err();

    assert_eq!(from("213364"), DropReason::Length(3));
    assert_eq!(from(&V2_PASSWORD[..38]), DropReason::Length(19));
    assert_eq!(from(&format!("{V2_PASSWORD}00")), DropReason::Length(21));
    assert_eq!(from(&V2_PASSWORD.replacen("21", "41", 1)), DropReason::UnknownVersion(4));
    assert_eq!(from(&V2_PASSWORD.replacen("21", "22", 1)), DropReason::Type(2));
    assert_eq!(from(&V2_PASSWORD.replacen("0064", "0065", 1)), DropReason::Checksum);
    assert_eq!(from(&V3_GROUP.replacen("7569", "7568", 1)), DropReason::Checksum);
    // An authentication header (type 2) with its checksum made right.
    assert_eq!(from("21336401020100e30a0500647365637265743132"), DropReason::AuthenticationType(2));
}

proptest::proptest! {
    #[test]
    fn no_input_panics(bytes: Vec<u8>, six: bool) {
        let (source, destination) = if six { ("fe80::1", "ff02::12") } else { ("10.5.0.1", "224.0.0.18") };
        let _ = Advertisement::parse(&bytes, ip(source), ip(destination));
    }
}
