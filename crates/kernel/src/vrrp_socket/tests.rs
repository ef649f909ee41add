use std::fmt::Write;

use super::*;
use crate::netns::{set_down, set_up};
use crate::test_cable::{Cable, eth0, give, run, wait_for};

/// The VRRPv2 advert of keepalived 2.2.7 for 10.5.0.100, with a password.
const MESSAGE: [u8; 20] = [
    0x21, 0x33, 0x64, 0x01, 0x01, 0x01, 0x01, 0xe3, 0x0a, 0x05, 0x00, 0x64, 0x73, 0x65, 0x63, 0x72,
    0x65, 0x74, 0x31, 0x32,
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn open(family: Family, mode: Mode) -> VrrpSocket {
    let link = eth0();
    VrrpSocket::open(&OpenOptions { link_index: link.index, link_name: link.name, family, mode })
        .unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn receive<'b>(socket: &VrrpSocket, buffer: &'b mut [u8]) -> Datagram<'b> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: 2, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ready, 1, "nothing arrived");
    socket.receive(buffer).unwrap().expect("a datagram")
}

fn assert_silence(socket: &VrrpSocket) {
    let mut buffer = [0; LARGEST_DATAGRAM];
    assert_eq!(socket.receive(&mut buffer).unwrap(), None);
}

/// Headers that keepalived 2.2.7 sent.
#[test]
fn ipv4_header_is_that_of_keepalived() {
    let header = |destination: [u8; 4], payload_length| {
        hex(&ipv4_header([10, 5, 0, 1].into(), destination.into(), 1, payload_length))
    };
    assert_eq!(header([224, 0, 0, 18], 20), "45c0002800010000ff70d08c0a050001e0000012");
    assert_eq!(header([224, 0, 0, 18], 12), "45c0002000010000ff70d0940a050001e0000012");
    let unicast = ipv4_header([10, 5, 0, 2].into(), [10, 5, 0, 1].into(), 1, 20);
    assert_eq!(hex(&unicast), "45c0002800010000ff70a6980a0500020a050001");
}

#[test]
fn an_oversized_payload_does_not_overflow_the_header() {
    let header = ipv4_header([10, 5, 0, 1].into(), [10, 5, 0, 2].into(), 1, u16::MAX);
    assert_eq!(header[2..4], [0xff, 0xff]);
}

#[test]
fn padding_and_options_are_no_payload() {
    let mut packet = ipv4_header([10, 5, 0, 1].into(), [224, 0, 0, 18].into(), 1, 12).to_vec();
    packet.resize(46, 0xee);
    assert_eq!(parse_ipv4_header(&packet).unwrap().payload, 20..32);

    // Four bytes of options: RFC 791 section 3.1, router alert of RFC 2113.
    packet[0] = 0x46;
    assert_eq!(parse_ipv4_header(&packet).unwrap().payload, 24..32);
}

#[test]
fn refuses_impossible_ipv4_headers() {
    let packet = ipv4_header([10, 5, 0, 1].into(), [224, 0, 0, 18].into(), 1, 0);
    let changed = |position: usize, value: u8| {
        let mut packet = packet;
        packet[position] = value;
        parse_ipv4_header(&packet)
    };
    assert!(parse_ipv4_header(&packet).is_some());
    assert_eq!(changed(0, 0x65), None, "IPv6");
    assert_eq!(changed(0, 0x44), None, "a header of 16 bytes");
    assert_eq!(changed(0, 0x46), None, "a header longer than the packet");
    assert_eq!(changed(3, 21), None, "a packet longer than what arrived");
    assert_eq!(changed(3, 19), None, "a packet shorter than its header");
    assert_eq!(parse_ipv4_header(&packet[..19]), None);
}

#[test]
fn multicast_reaches_the_other_router_and_not_ourselves() {
    let cable = Cable::new();
    let mut here = cable.here(|| open(Family::V4, Mode::Multicast));
    let there = cable.there(|| open(Family::V4, Mode::Multicast));
    here.send(address("10.9.0.1"), GROUP_V4.into(), &MESSAGE).unwrap();

    let expected = Datagram {
        source: address("10.9.0.1"),
        destination: address("224.0.0.18"),
        hop_limit: 255,
        payload: &MESSAGE,
    };
    assert_eq!(receive(&there, &mut [0; LARGEST_DATAGRAM]), expected);
    assert_silence(&there);
    assert_silence(&here);
}

#[test]
fn ipv6_multicast_reaches_the_other_router_and_not_ourselves() {
    let cable = Cable::new();
    let mut here = cable.here(|| open(Family::V6, Mode::Multicast));
    let there = cable.there(|| open(Family::V6, Mode::Multicast));
    // Not the address the kernel would choose for the group, which is the link-local one.
    here.send(address("fd09::1"), GROUP_V6.into(), &MESSAGE).unwrap();

    let expected = Datagram {
        source: address("fd09::1"),
        destination: address("ff02::12"),
        hop_limit: 255,
        payload: &MESSAGE,
    };
    assert_eq!(receive(&there, &mut [0; LARGEST_DATAGRAM]), expected);
    assert_silence(&there);
    assert_silence(&here);
}

#[test]
fn unicast_reaches_the_peer() {
    for (family, here_address, there_address) in
        [(Family::V4, "10.9.0.1", "10.9.0.2"), (Family::V6, "fd09::1", "fd09::2")]
    {
        let (here_address, there_address) = (address(here_address), address(there_address));
        let cable = Cable::new();
        let mut here = cable.here(|| open(family, Mode::Unicast { source: here_address }));
        let there = cable.there(|| open(family, Mode::Unicast { source: there_address }));
        here.send(here_address, there_address, &MESSAGE).unwrap();

        let expected = Datagram {
            source: here_address,
            destination: there_address,
            hop_limit: 255,
            payload: &MESSAGE,
        };
        assert_eq!(receive(&there, &mut [0; LARGEST_DATAGRAM]), expected);
    }
}

#[test]
fn a_unicast_socket_hears_only_its_own_address() {
    let cable = Cable::new();
    cable.there(|| give("10.9.0.3/24"));
    let mut here = cable.here(|| open(Family::V4, Mode::Multicast));
    let there = cable.there(|| open(Family::V4, Mode::Unicast { source: address("10.9.0.2") }));
    let _member = cable.there(|| open(Family::V4, Mode::Multicast));
    here.send(address("10.9.0.1"), GROUP_V4.into(), &MESSAGE).unwrap();
    here.send(address("10.9.0.1"), address("10.9.0.3"), &MESSAGE).unwrap();
    here.send(address("10.9.0.1"), address("10.9.0.2"), &MESSAGE[..8]).unwrap();

    let mut buffer = [0; LARGEST_DATAGRAM];
    assert_eq!(receive(&there, &mut buffer).payload, &MESSAGE[..8]);
    assert_silence(&there);
}

/// The identification is the only field that changes from one advert to the next.
#[test]
fn on_the_wire_it_is_keepalived() {
    let cable = Cable::new();
    let mut here = cable.here(|| open(Family::V4, Mode::Multicast));
    let wire = cable.there(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).unwrap();
        socket.bind(&sys::packet_address(eth0().index, 0x0800)).unwrap();
        socket
    });
    for _ in 0..2 {
        here.send(address("10.9.0.1"), GROUP_V4.into(), &MESSAGE).unwrap();
    }
    let mut frames = [0, 1].map(|_| {
        let mut buffer = [0; 256];
        wait_for("a frame", || {
            let (length, _) = rustix::net::recv(&wire, &mut buffer[..], RecvFlags::empty()).ok()?;
            Some(hex(&buffer[..length]))
        })
    });
    // Without the source hardware address, which is made up anew each time.
    for frame in &mut frames {
        frame.replace_range(12..24, " ");
    }
    let message = hex(&MESSAGE);
    // RFC 1071: the header of keepalived with 10.9.0.1 for 10.5.0.1 has a checksum that is 4 less.
    assert_eq!(
        frames,
        [
            format!("01005e000012 080045c0002800010000ff70d0880a090001e0000012{message}"),
            format!("01005e000012 080045c0002800020000ff70d0870a090001e0000012{message}"),
        ]
    );
}

#[test]
fn ipv6_on_the_wire_it_is_keepalived() {
    let cable = Cable::new();
    let mut here = cable.here(|| open(Family::V6, Mode::Multicast));
    let wire = cable.there(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).unwrap();
        socket.bind(&sys::packet_address(eth0().index, 0x86dd)).unwrap();
        socket
    });
    here.send(address("fd09::1"), GROUP_V6.into(), &MESSAGE).unwrap();
    let mut buffer = [0; 256];
    let mut frame = wait_for("a frame of protocol 112", || {
        let (length, _) = rustix::net::recv(&wire, &mut buffer[..], RecvFlags::empty()).ok()?;
        (buffer[20] == 112).then(|| hex(&buffer[..length]))
    });
    // The flow label is the kernel's choice, for keepalived too.
    frame.replace_range(31..36, "-----");
    frame.replace_range(12..24, " ");
    let header =
        "6c0-----0014 70ff fd090000000000000000000000000001 ff020000000000000000000000000012";
    let header = header.replace(' ', "");
    assert_eq!(frame, format!("333300000012 86dd{header}{}", hex(&MESSAGE)));
}

#[test]
fn the_group_is_left_and_joined_again() {
    let cable = Cable::new();
    for (family, group) in [(Family::V4, "224.0.0.18"), (Family::V6, "ff02::12")] {
        let socket = cable.here(|| open(family, Mode::Multicast));
        cable.here(|| {
            let is_member = || run("ip", &["maddr", "show", "dev", "eth0"]).contains(group);
            assert!(is_member());
            set_down("eth0").unwrap();
            set_up("eth0").unwrap();
            socket.rejoin().unwrap();
            assert!(is_member());
            drop(socket);
            // A program that another test starts has the socket too, until its exec.
            wait_for("the group to be left", || (!is_member()).then_some(()));
        });
    }
}

#[test]
fn receives_after_the_link_was_down() {
    let cable = Cable::new();
    let mut here = cable.here(|| open(Family::V4, Mode::Multicast));
    let there = cable.there(|| open(Family::V4, Mode::Multicast));
    cable.there(|| {
        set_down("eth0").unwrap();
        set_up("eth0").unwrap();
    });
    there.rejoin().unwrap();
    wait_for("the link to carry traffic again", || {
        here.send(address("10.9.0.1"), GROUP_V4.into(), &MESSAGE).ok()?;
        there.receive(&mut [0; LARGEST_DATAGRAM]).unwrap().map(|_| ())
    });
}

#[test]
fn refuses_addresses_of_the_other_family() {
    let cable = Cable::new();
    let mut socket = cable.here(|| open(Family::V4, Mode::Multicast));
    let error = socket.send(address("fd09::1"), GROUP_V6.into(), &MESSAGE).unwrap_err();
    assert_eq!(error.to_string(), "fd09::1 and ff02::12 do not belong on this VRRP socket");
}

#[test]
fn names_what_is_missing() {
    let cable = Cable::new();
    let failure = |link_name: &str, mode| {
        cable.here(|| {
            let link_index = eth0().index;
            let link_name = link_name.to_owned();
            let options = OpenOptions { link_index, link_name, family: Family::V4, mode };
            VrrpSocket::open(&options).unwrap_err().to_string()
        })
    };
    assert_eq!(
        failure("eth9", Mode::Multicast),
        "cannot open a VRRP socket on eth9: No such device (os error 19)"
    );
    assert_eq!(
        failure("eth0", Mode::Unicast { source: address("10.9.0.200") }),
        "cannot open a VRRP socket on eth0 for its address 10.9.0.200: Cannot assign requested address (os error 99)"
    );
}
