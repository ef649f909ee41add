//! Start, stop, drain, eject, reset.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    HELLO, LONG, answer, ask, connect, connect_to, echo, is_reset, named, proxy, proxy_with,
};
use proxy::{BindError, Drained, Handle, Proxy, Settings};

/// A client that is served.
fn served(address: SocketAddr) -> TcpStream {
    let mut client = connect_to(address);
    client.write_all(HELLO).unwrap();
    answer(&mut client).unwrap();
    client
}

/// A proxy on all addresses.
fn everywhere(backends: Vec<SocketAddr>) -> (Handle, u16) {
    let listen = vec!["[::]:0".parse().unwrap()];
    let settings = Settings { listen, threads: 2, threads_at_rest: 2, ..Settings::default() };
    let handle = Proxy::bind(settings).unwrap().start().unwrap();
    handle.set_backends(backends);
    let port = handle.listening()[0].port();
    (handle, port)
}

#[test]
fn clients_wait_between_bind_and_start() {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let proxy = Proxy::bind(Settings { listen, ..Settings::default() }).unwrap();
    let mut early = connect_to(proxy.listening()[0]);
    let handle = proxy.start().unwrap();
    assert!(is_reset(&mut early), "there is no backend yet");
    assert_eq!(handle.stats().accepted, 1);
}

#[test]
fn no_address_is_an_error() {
    assert!(matches!(Proxy::bind(Settings::default()), Err(BindError::NoAddress)));
}

#[test]
fn open_connections_stay_when_the_backends_change() {
    let ((old, _), (new, _)) = (named(b'o'), named(b'n'));
    let handle = proxy(&[old]);
    let mut client = served(handle.listening()[0]);
    handle.set_backends(vec![new]);
    client.write_all(b"still there?").unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"o");
    assert_eq!(ask(&handle, HELLO).0.unwrap(), b"n");
    let stats = handle.stats();
    let usable: Vec<_> =
        stats.backends.iter().map(|backend| (backend.address, backend.usable)).collect();
    assert_eq!(usable, [(new, true), (old, false)]);
    assert_eq!(stats.backends[1].open, 1);
}

#[test]
fn an_ejected_backend_loses_its_connections_after_the_grace() {
    let ((bad, _), (good, _)) = (named(b'b'), named(b'g'));
    let ejected_grace = Duration::from_millis(300);
    let handle = proxy_with(Settings { ejected_grace, ..Settings::default() }, &[bad, good]);
    let mut clients = [served(handle.listening()[0]), served(handle.listening()[0])];
    handle.set_backends(vec![good]);
    handle.eject(bad);
    let begin = Instant::now();
    assert!(is_reset(&mut clients[0]));
    assert!((300..1000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    clients[1].write_all(b"x").unwrap();
    assert_eq!(answer(&mut clients[1]).unwrap(), b"g");

    // Back within the grace.
    handle.set_backends(vec![good]);
    handle.eject(good);
    thread::sleep(Duration::from_millis(500));
    clients[1].write_all(b"x").unwrap();
    assert_eq!(answer(&mut clients[1]).unwrap(), b"g");
}

#[test]
fn clients_of_one_address_are_reset() {
    let (handle, port) = everywhere(vec![named(b'a').0]);
    let vip = Ipv4Addr::new(127, 0, 0, 100);
    let mut by_vip: Vec<_> = (0..400).map(|_| served((vip, port).into())).collect();
    let mut by_node: Vec<_> = (0..3).map(|_| served((Ipv4Addr::LOCALHOST, port).into())).collect();
    let mut by_ipv6 = served(([0, 0, 0, 0, 0, 0, 0, 1], port).into());

    assert_eq!(handle.reset_if(&["10.0.0.100".parse().unwrap()]), 0);
    let begin = Instant::now();
    assert_eq!(handle.reset_if(&[vip.into()]), 400);
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(by_vip.iter_mut().all(is_reset));
    for client in by_node.iter_mut().chain([&mut by_ipv6]) {
        client.write_all(b"x").unwrap();
        assert_eq!(answer(client).unwrap(), b"a");
    }
    assert_eq!(handle.reset_if(&[IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]), 1);
    assert!(is_reset(&mut by_ipv6));
    assert_eq!(handle.stats().open, 3);
}

#[test]
fn a_drain_waits_and_then_resets() {
    let handle = proxy(&[named(b'a').0]);
    let address = handle.listening()[0];
    let mut clients: Vec<_> = (0..5).map(|_| served(address)).collect();
    let drained = thread::scope(|scope| {
        let drain = scope.spawn(|| handle.drain(Duration::from_millis(400)));
        thread::sleep(Duration::from_millis(100));
        assert!(TcpStream::connect(address).is_err(), "closed to new clients");
        clients[0].write_all(b"goes on").unwrap();
        assert_eq!(answer(&mut clients[0]).unwrap(), b"a");
        clients.truncate(2);
        drain.join().unwrap()
    });
    assert_eq!(drained, Drained { finished: 3, reset: 2 });
    assert!(clients.iter_mut().all(is_reset));

    let begin = Instant::now();
    assert_eq!(handle.drain(LONG), Drained { finished: 0, reset: 0 });
    assert!(begin.elapsed() < Duration::from_millis(500), "nothing to wait for");
}

#[test]
fn nobody_in_the_queue_is_lost_by_the_stop() {
    let handle = proxy(&[echo()]);
    let address = handle.listening()[0];
    let clients: Vec<_> = (0..100).map(|_| connect_to(address)).collect();
    handle.stop_accepting();
    for mut client in clients {
        client.write_all(b"in time").unwrap();
        assert_eq!(answer(&mut client).unwrap(), b"in time");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(handle.stats().accepted, 100);
}

#[test]
fn shutdown_resets_and_ends_the_threads() {
    let handle = proxy(&[named(b'a').0]);
    let address = handle.listening()[0];
    let mut client = served(address);
    let (other, begin) = (handle.clone(), Instant::now());
    handle.shutdown();
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert!(is_reset(&mut client));
    assert!(TcpStream::connect(address).is_err());
    thread::sleep(Duration::from_millis(20));
    assert!(!other.alive(Duration::from_millis(10)));
}

#[test]
fn the_last_handle_stops_the_proxy() {
    let handle = proxy(&[echo()]);
    let mut client = connect(&handle);
    drop(handle.clone());
    client.write_all(b"x").unwrap();
    assert_eq!(answer(&mut client).unwrap(), b"x");
    drop(handle);
    assert!(is_reset(&mut client));
}

#[test]
fn clients_are_spread_over_the_threads() {
    let handle = proxy(&[named(b'a').0]);
    let _clients: Vec<_> = (0..40).map(|_| served(handle.listening()[0])).collect();
    let open: Vec<_> = handle.stats().threads.iter().map(|thread| thread.open).collect();
    assert_eq!(open.iter().sum::<usize>(), 40);
    assert!(open.iter().all(|open| (8..=12).contains(open)), "{open:?}");
}

#[test]
fn an_idle_proxy_is_alive() {
    let handle = proxy(&[]);
    thread::sleep(Duration::from_millis(600));
    assert!(handle.alive(Duration::from_millis(500)));
    let stats = handle.stats();
    assert_eq!(stats.threads.len(), 4);
    assert!(stats.threads.iter().all(|thread| thread.turned < Duration::from_millis(500)));
}
