//! What the network does to a proxy: hosts that vanish, floods. In network namespaces, with `nft`
//! to lose packets and `ss` as the witness.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{HELLO, LONG, answer, connect, eventually, is_reset, named, proxy, proxy_with};
use kernel::netns::Namespace;
use proxy::Settings;
use socket2::{Domain, Protocol, Socket, Type};

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Loses, from now on, what matches.
fn lose(packets: &str) {
    let rules = format!(
        "table ip lost {{ chain out {{ type filter hook output priority 0; {packets} drop; }}; }}"
    );
    run("nft", &[&rules]);
}

fn in_a_namespace(work: impl FnOnce() + Send) {
    Namespace::new().expect("this test needs root").run(work).unwrap();
}

#[test]
fn a_client_whose_host_has_gone_is_noticed_and_its_backend_told() {
    in_a_namespace(|| {
        let settings = Settings {
            keepalive_idle: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(1),
            client_user_timeout: Duration::from_secs(2),
            ..Settings::default()
        };
        let handle = proxy_with(settings, &[named(b'a').0]);
        let mut clients = [connect(&handle), connect(&handle)];
        // One is served already, the other has said nothing.
        clients[0].write_all(HELLO).unwrap();
        assert_eq!(answer(&mut clients[0]).unwrap(), b"a");
        let of = |client: &TcpStream| client.local_addr().unwrap().port();
        let (one, two) = (of(&clients[0]), of(&clients[1]));
        lose(&format!("tcp sport {{ {one}, {two} }}"));
        let begin = Instant::now();
        eventually("noticed", || handle.stats().open == 0);
        assert!(begin.elapsed() > Duration::from_secs(1));
        assert_eq!(handle.stats().backends[0].open, 0);
        eventually("the backend is told", || {
            let to = handle.stats().backends[0].address.to_string();
            run("ss", &["-tnH", "state", "established", "dst", &to]).is_empty()
        });
    });
}

#[test]
fn a_backend_whose_host_has_gone_is_noticed_though_the_client_is_silent() {
    in_a_namespace(|| {
        let (backend, _) = named(b'a');
        let settings = Settings {
            keepalive_idle: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(1),
            backend_user_timeout: Duration::from_secs(2),
            ..Settings::default()
        };
        let handle = proxy_with(settings, &[backend]);
        let mut clients = [connect(&handle), connect(&handle)];
        clients[0].write_all(HELLO).unwrap();
        assert_eq!(answer(&mut clients[0]).unwrap(), b"a");
        eventually("both connected", || handle.stats().backends[0].connect_latency.count == 2);
        lose(&format!("tcp sport {}", backend.port()));
        assert!(clients.iter_mut().all(is_reset));
        eventually("closed", || handle.stats().open == 0);
    });
}

/// A SYN from `source` (RFC 9293, 3.1).
fn syn(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> Vec<u8> {
    let (source_octets, destination_octets) = (source.0.octets(), destination.0.octets());
    let mut segment = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    // Five words of header, SYN, window, checksum to come, no urgent data.
    segment.extend([0x50, 0x02, 0xFF, 0xFF, 0, 0, 0, 0]);
    let pseudo = [&source_octets[..], &destination_octets[..], &[0, 6, 0, 20], &segment].concat();
    let sum: u32 =
        pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let checksum = !((folded & 0xFFFF) + (folded >> 16)) as u16;
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());

    // The kernel fills in length, identification and checksum (raw(7), IP_HDRINCL).
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend([source_octets, destination_octets].concat());
    packet.extend(segment);
    packet
}

#[test]
fn clients_are_served_during_a_flood_of_connects_that_nobody_finishes() {
    in_a_namespace(|| {
        let handle = proxy(&[named(b'a').0]);
        let to = handle.listening()[0];
        let SocketAddr::V4(to) = to else { panic!("not IPv4") };
        // The hosts that the flood names do not exist, and so they do not answer.
        lose("ip daddr 127.66.0.0/16");
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        let flood = |round: u16| {
            for number in 0..1000_u16 {
                let source = Ipv4Addr::new(127, 66, round as u8, (number % 250) as u8 + 1);
                let packet = syn((source, 1024 + number), (*to.ip(), to.port()));
                let destination = SocketAddr::from((*to.ip(), 0));
                raw.send_to(&packet, &destination.into()).unwrap();
            }
        };
        let mut slowest = Duration::ZERO;
        for round in 0..20 {
            flood(round);
            for _ in 0..5 {
                let begin = Instant::now();
                let mut client = connect(&handle);
                client.write_all(HELLO).unwrap();
                assert_eq!(answer(&mut client).unwrap(), b"a");
                slowest = slowest.max(begin.elapsed());
            }
        }
        let port = to.port().to_string();
        let unfinished = run("ss", &["-tnH", "state", "syn-recv", "sport", &format!("= :{port}")]);
        let unfinished = unfinished.lines().count();
        assert!(unfinished > 100, "{unfinished} unfinished connects are no flood");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        let stats = handle.stats();
        assert_eq!((stats.accepted, stats.rejected.total()), (100, 0), "nobody else got in");
        assert!(handle.alive(LONG));
    });
}
