//! A proxy hands its listening sockets to its successor, and no client is lost.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use common::{HELLO, LONG, answer, connect, connect_to, echo, is_reset, named, proxy};
use proxy::{AdoptError, BindError, Drained, Proxy, Settings};

#[test]
fn a_successor_loses_no_client_and_the_old_connections_end_in_their_own_time() {
    let old = proxy(&[named(b'o').0]);
    let address = old.listening()[0];
    let mut long = connect(&old);
    long.write_all(HELLO).unwrap();
    assert_eq!(answer(&mut long).unwrap(), b"o");

    let done = AtomicBool::new(false);
    let (by_old, by_new) = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = Vec::new();
                    while !done.load(Relaxed) {
                        let mut client = connect_to(address);
                        client.write_all(HELLO).unwrap();
                        served.extend(answer(&mut client).unwrap());
                    }
                    served
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let settings = Settings {
            listen: vec![address],
            threads: 2,
            threads_at_rest: 2,
            ..Settings::default()
        };
        let new = Proxy::adopt(settings, old.listening_sockets().unwrap()).unwrap();
        assert_eq!(new.listening(), [address]);
        let new = new.start_with(&[named(b'n').0]).unwrap();
        old.stop_accepting();
        thread::sleep(Duration::from_millis(200));
        done.store(true, Relaxed);
        let served: Vec<u8> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        new.shutdown();
        let by = |name| served.iter().filter(|by| **by == name).count();
        (by(b'o'), by(b'n'))
    });
    assert!(by_old > 10 && by_new > 10, "{by_old} and {by_new}");

    assert!(old.listening_sockets().unwrap().is_empty());
    long.write_all(b"still there?").unwrap();
    assert_eq!(answer(&mut long).unwrap(), b"o");
    assert_eq!(old.drain(Duration::ZERO), Drained { finished: 0, reset: 1 });
    assert!(is_reset(&mut long));
}

#[test]
fn sockets_are_matched_by_address_and_the_others_are_bound_or_closed() {
    let wanted = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let unwanted = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (wanted_at, unwanted_at) = (wanted.local_addr().unwrap(), unwanted.local_addr().unwrap());
    let mut early = connect_to(wanted_at);

    let new_at = (Ipv4Addr::LOCALHOST, 0).into();
    let settings = Settings { listen: vec![new_at, wanted_at], ..Settings::default() };
    let proxy = Proxy::adopt(settings, vec![unwanted.into(), wanted.into()]).unwrap();
    assert_eq!(proxy.listening()[1], wanted_at);
    assert_eq!(proxy.listening_sockets().unwrap().len(), 2);
    assert_eq!(TcpStream::connect(unwanted_at).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let handle = proxy.start_with(&[echo()]).unwrap();
    for client in [&mut connect_to(handle.listening()[0]), &mut early] {
        client.write_all(b"x").unwrap();
        assert_eq!(answer(client).unwrap(), b"x");
    }
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for descriptor in [stream.into(), File::open("/dev/null").unwrap().into()] {
        let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let settings = Settings { listen, ..Settings::default() };
        let error = Proxy::adopt(settings, vec![descriptor]).unwrap_err();
        assert!(matches!(error, BindError::Adopt(AdoptError::NoListener)), "{error:?}");
    }
}

#[test]
fn a_paused_successor_leaves_the_clients_to_its_predecessor() {
    let old = proxy(&[named(b'o').0]);
    let address = old.listening()[0];
    let settings =
        Settings { listen: vec![address], threads: 2, threads_at_rest: 2, ..Settings::default() };
    let new = Proxy::adopt(settings, old.listening_sockets().unwrap()).unwrap().paused();
    let new = new.start_with(&[named(b'n').0]).unwrap();
    let served = || {
        let mut client = connect_to(address);
        client.write_all(HELLO).unwrap();
        answer(&mut client).unwrap()
    };
    for _ in 0..50 {
        assert_eq!(served(), b"o");
    }
    assert!(new.alive(LONG));
    new.resume_accepting();
    old.stop_accepting();
    for _ in 0..50 {
        assert_eq!(served(), b"n");
    }
}

#[test]
fn clients_wait_while_accepting_is_paused() {
    let handle = proxy(&[echo()]);
    let ask = |client: &mut TcpStream| {
        client.write_all(b"x").unwrap();
        answer(client)
    };
    let mut open = connect(&handle);
    assert_eq!(ask(&mut open).unwrap(), b"x");
    handle.pause_accepting();
    let mut waiting = connect(&handle);
    waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(ask(&mut waiting).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(ask(&mut open).unwrap(), b"x");
    assert_eq!(handle.stats().accepted, 1);

    handle.resume_accepting();
    waiting.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(answer(&mut waiting).unwrap(), b"x");
    assert_eq!(handle.stats().accepted, 2);
}
