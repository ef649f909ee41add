use super::ProxyProtocol::{V1, V2};

const MOST: &str = "255.255.255.255:65535";
const MOST_IPV6: &str = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";

#[test]
fn the_lines_of_the_specification() {
    // The worst cases of section 2.1, written out there.
    let ipv4 = V1.header(MOST.parse().unwrap(), MOST.parse().unwrap());
    assert_eq!(ipv4, b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n");
    let ipv6 = V1.header(MOST_IPV6.parse().unwrap(), MOST_IPV6.parse().unwrap());
    assert_eq!(
        String::from_utf8(ipv6).unwrap(),
        "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
         ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
    );
    // Section 2.1 gives this example.
    let example =
        V1.header("192.168.0.1:56324".parse().unwrap(), "192.168.0.11:443".parse().unwrap());
    assert_eq!(example, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
}

#[test]
fn the_bytes_of_the_specification() {
    let ipv4 = V2.header("192.0.2.1:56324".parse().unwrap(), "198.51.100.2:6443".parse().unwrap());
    assert_eq!(
        ipv4,
        b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A\x21\x11\x00\x0C\
          \xC0\x00\x02\x01\xC6\x33\x64\x02\xDC\x04\x19\x2B"
    );
    let ipv6 = V2.header("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:6443".parse().unwrap());
    assert_eq!(
        ipv6,
        b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A\x21\x21\x00\x24\
          \x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x02\
          \x00\x01\x19\x2B"
    );
}

#[test]
fn addresses_of_two_families_are_unknown() {
    let (ipv4, ipv6) = (MOST.parse().unwrap(), MOST_IPV6.parse().unwrap());
    assert_eq!(V1.header(ipv4, ipv6), b"PROXY UNKNOWN\r\n");
    assert_eq!(V2.header(ipv6, ipv4), *b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00");
}
