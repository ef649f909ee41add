use std::net::IpAddr;

use vrrp::Advertisement;

/// Reads a packet. The first byte tells how it came: bit 0 for IPv6, bit 1 for unicast.
///
/// What is taken for an advertisement must be the same when it is written and read again.
pub(crate) fn run(data: &[u8]) {
    let Some((way, payload)) = data.split_first() else { return };
    let (source, destination) = match way & 3 {
        0 => ("10.5.0.1", "224.0.0.18"),
        1 => ("fe80::88a7:6aff:fe85:c04e", "ff02::12"),
        2 => ("10.5.0.1", "10.5.0.2"),
        _ => ("fd05::1", "fd05::2"),
    };
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address as above");
    let (source, destination) = (ip(source), ip(destination));

    let Ok((advertisement, checksum)) = Advertisement::parse(payload, source, destination) else {
        return;
    };
    assert!(!advertisement.interval.is_zero());
    assert!(advertisement.addresses.iter().all(|a| a.is_ipv4() == source.is_ipv4()));
    let written = advertisement.emit(source, destination, checksum);
    assert_eq!(written.len(), payload.len());
    let again = Advertisement::parse(&written, source, destination);
    assert_eq!(again, Ok((advertisement, checksum)));
}
