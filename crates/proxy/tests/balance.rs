//! How clients are spread over good backends, and what these are told of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use common::{
    HELLO, LONG, answer, backend, connect, connect_to, eventually, named, proxy_with, reset,
    stopped,
};
use proxy::{Choice, Handle, Proxy, ProxyProtocol, Settings};

fn least(backends: &[SocketAddr]) -> Handle {
    proxy_with(Settings { choice: Choice::LeastConnections, ..Settings::default() }, backends)
}

/// A client that stays, and who serves it.
fn served(handle: &Handle) -> (u8, TcpStream) {
    let mut client = connect(handle);
    client.write_all(HELLO).unwrap();
    (answer(&mut client).unwrap()[0], client)
}

#[test]
fn the_least_loaded_backend_gets_the_next_client() {
    let addresses = [named(b'a').0, named(b'b').0, named(b'c').0];
    let handle = least(&addresses);
    let mut clients: Vec<_> = (0..9).map(|_| served(&handle)).collect();
    let open = || handle.stats().backends.iter().map(|backend| backend.open).collect::<Vec<_>>();
    assert_eq!(open(), [3, 3, 3]);

    // Two of b's leave: the next two go there.
    let mut leaving = 2;
    clients.retain(|(name, _)| {
        let leaves = *name == b'b' && leaving > 0;
        leaving -= usize::from(leaves);
        !leaves
    });
    eventually("closed", || open() == [3, 1, 3]);
    let next: Vec<_> = (0..2).map(|_| served(&handle)).collect();
    assert_eq!(next.iter().map(|(name, _)| *name).collect::<Vec<_>>(), b"bb");
    assert_eq!(open(), [3, 3, 3]);
}

#[test]
fn a_backend_that_comes_back_catches_up() {
    let (old, (back, _)) = (named(b'o').0, named(b'b'));
    let handle = least(&[old]);
    let _old: Vec<_> = (0..6).map(|_| served(&handle)).collect();
    handle.set_backends(vec![old, back]);
    let new: Vec<_> = (0..8).map(|_| served(&handle)).collect();
    let by = |wanted| new.iter().filter(|(name, _)| *name == wanted).count();
    assert_eq!((by(b'o'), by(b'b')), (1, 7), "seven each");
}

#[test]
fn clients_that_have_not_spoken_count_too() {
    let ((first, _one), (second, _two)) = (stopped(), stopped());
    let handle = least(&[first, second]);
    let clients = thread::scope(|scope| {
        let client = || (0..10).map(|_| connect(&handle)).collect::<Vec<_>>();
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let connects =
        || handle.stats().backends.iter().map(|backend| backend.connects).collect::<Vec<_>>();
    eventually("all connected", || connects().iter().sum::<u64>() == 40);
    // Four threads that choose at once may be off by one client each.
    assert!(connects().iter().all(|connects| (16..=24).contains(connects)), "{:?}", connects());
    clients.into_iter().for_each(reset);
    eventually("all closed", || handle.stats().open == 0);
}

/// A proxy with this header before one backend, and what the backend gets.
fn told(version: ProxyProtocol, length: usize, send: &[u8]) -> (Vec<u8>, TcpStream, Handle) {
    let (heard, got) = channel();
    let expecting = backend(move |mut stream| {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        heard.send(bytes).unwrap();
        let _ = answer(&mut stream);
    });
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let settings =
        Settings { listen, threads: 1, proxy_protocol: Some(version), ..Settings::default() };
    let handle = Proxy::bind(settings).unwrap().start_with(&[expecting]).unwrap();
    let mut client = connect_to(handle.listening()[0]);
    client.write_all(send).unwrap();
    (got.recv_timeout(LONG).unwrap(), client, handle)
}

#[test]
fn a_backend_is_told_who_its_client_is_before_the_first_byte() {
    let length = 28 + HELLO.len();
    let (got, client, _handle) = told(ProxyProtocol::V2, length, HELLO);
    let (from, to) = (client.local_addr().unwrap().port(), client.peer_addr().unwrap().port());
    let mut expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0C\x7F\0\0\x01\x7F\0\0\x01".to_vec();
    expected.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
    expected.extend(HELLO);
    assert_eq!(got, expected);
}

#[test]
fn a_backend_is_told_although_the_client_says_nothing() {
    let (got, client, _handle) = told(ProxyProtocol::V1, 40, b"");
    let (from, to) = (client.local_addr().unwrap().port(), client.peer_addr().unwrap().port());
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n");
    assert_eq!(String::from_utf8(got).unwrap(), expected[..40]);
}

#[test]
fn every_attempt_begins_with_the_header() {
    let (hung, listener) = stopped();
    let (heard, got) = channel();
    let second = backend(move |mut stream| {
        let mut bytes = vec![0; 28 + HELLO.len()];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"s").unwrap();
        heard.send(bytes).unwrap();
    });
    let settings = Settings { proxy_protocol: Some(ProxyProtocol::V2), ..Settings::default() };
    let handle = proxy_with(settings, &[hung, second]);
    let mut client = connect(&handle);
    client.write_all(HELLO).unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"s");
    let second_got = got.recv_timeout(LONG).unwrap();
    let mut first_got = vec![0; 28 + HELLO.len()];
    listener.accept().unwrap().0.read_exact(&mut first_got).unwrap();
    assert_eq!(second_got, first_got);
    assert_eq!(second_got[28..], *HELLO);
}
