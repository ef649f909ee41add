//! Limits answer at once and end nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;

use common::{HELLO, answer, connect, connect_to, eventually, is_reset, named, proxy_with};
use proxy::{Rejected, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

#[test]
fn one_connection_too_many_is_reset() {
    let (backend, _) = named(b'a');
    let handle = proxy_with(Settings { max_connections: 3, ..Settings::default() }, &[backend]);
    assert_eq!(handle.stats().limit, 3);
    let ask = |client: &mut TcpStream| {
        client.write_all(HELLO).unwrap();
        answer(client)
    };
    let mut open: Vec<_> = (0..3).map(|_| connect(&handle)).collect();
    assert!(open.iter_mut().all(|client| ask(client).is_ok()));
    for _ in 0..5 {
        assert!(is_reset(&mut connect(&handle)));
    }
    eventually("counted", || handle.stats().rejected.limit == 5);

    open.pop();
    eventually("closed", || handle.stats().open == 2);
    assert_eq!(ask(&mut connect(&handle)).unwrap(), b"a");
    assert_eq!(handle.stats().accepted, 9);
}

#[test]
fn one_connection_too_many_of_one_host_is_reset() {
    let (backend, _) = named(b'a');
    let settings = Settings { max_connections_per_source: Some(2), ..Settings::default() };
    let handle = proxy_with(settings, &[backend]);
    let from = |host: [u8; 4]| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
        socket.connect(&handle.listening()[0].into()).unwrap();
        TcpStream::from(socket)
    };
    let is_served = |client: &mut TcpStream| {
        client.write_all(HELLO).is_ok() && answer(client).is_ok_and(|answer| answer == b"a")
    };
    let mut open: Vec<_> = (0..2).map(|_| from([127, 0, 0, 1])).collect();
    assert!(open.iter_mut().all(is_served));
    assert!(is_reset(&mut from([127, 0, 0, 1])));
    assert!(is_served(&mut from([127, 0, 0, 2])), "another host has its own share");

    open.pop();
    eventually("closed", || handle.stats().open == 1);
    assert!(is_served(&mut from([127, 0, 0, 1])));
    let listener = handle.stats().listeners[0];
    assert_eq!(listener.rejected, Rejected { per_source: 1, ..Rejected::default() });
    assert_eq!(listener.accepted, 5);
}

#[test]
fn clients_of_foreign_networks_are_reset() {
    let (backend, connections) = named(b'a');
    let allowed_sources = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let handle = proxy_with(Settings { allowed_sources, ..Settings::default() }, &[backend]);
    assert!(is_reset(&mut connect(&handle)));
    eventually("counted", || handle.stats().rejected.foreign == 1);
    assert_eq!(handle.stats().open, 0);
    assert_eq!(connections.load(Relaxed), 0);
}

#[test]
fn a_change_of_the_limits_is_for_who_comes() {
    let (backend, _) = named(b'a');
    let listen = vec![(std::net::Ipv4Addr::LOCALHOST, 0).into()];
    let plain = Settings { listen, ..Settings::default() };
    let handle = proxy_with(plain.clone(), &[backend]);
    let limit = handle.stats().limit;
    let served = || {
        let mut client = connect(&handle);
        let asked = client.write_all(HELLO).and_then(|()| answer(&mut client));
        asked.is_ok_and(|answer| answer == b"a").then_some(client)
    };
    let mut early = served().unwrap();

    let allowed_sources = vec!["10.0.0.0/8".parse().unwrap()];
    handle.change(&Settings { allowed_sources, ..plain.clone() });
    assert!(served().is_none());
    handle.change(&Settings { max_connections_per_source: Some(1), ..plain.clone() });
    // The early one came before anybody was counted.
    let counted = served().unwrap();
    assert!(served().is_none());
    handle.change(&Settings { max_connections: 2, ..plain.clone() });
    assert_eq!(handle.stats().limit, 2);
    assert!(served().is_none());
    drop(counted);
    eventually("room for one", || handle.stats().open == 1);
    let last = served().unwrap();
    assert!(served().is_none());
    handle.change(&plain);
    assert_eq!(handle.stats().limit, limit);
    let _more = [(); 4].map(|()| served().unwrap());
    drop(last);

    early.write_all(HELLO).unwrap();
    assert_eq!(answer(&mut early).unwrap(), b"a");
    let rejected = Rejected { foreign: 1, per_source: 1, limit: 2, ..Rejected::default() };
    assert_eq!(handle.stats().rejected, rejected);
}

/// Set in the process that runs out of descriptors: the backend's address.
const STARVED: &str = "PROXY_TEST_STARVED_BACKEND";

#[test]
fn a_want_of_descriptors_ends_nothing() {
    if let Ok(backend) = std::env::var(STARVED) {
        return starve(backend.parse().unwrap());
    }
    let (backend, _) = named(b'a');
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_want_of_descriptors_ends_nothing", "--nocapture"])
        .env(STARVED, backend.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok()).unwrap();

    for _ in 0..3 {
        let mut clients: Vec<_> = (0..60).map(|_| connect_to(address)).collect();
        // A reset client may learn of it as it writes.
        let answers = clients.iter_mut().map(|client| {
            client.write_all(HELLO).is_ok() && answer(client).is_ok_and(|answer| answer == b"a")
        });
        let served = answers.filter(|served| *served).count();
        assert!((1..60).contains(&served), "{served} of 60 served with 20 descriptors to spare");
    }
    eventually("served again", || {
        let mut client = connect_to(address);
        client.write_all(HELLO).is_ok() && answer(&mut client).is_ok_and(|answer| answer == b"a")
    });

    drop(child.stdin.take());
    let report: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success(), "{report:#?}");
    assert!(report.iter().any(|line| line.contains("was starved")), "{report:#?}");
}

/// Serves with 20 descriptors to spare until the end of standard input.
fn starve(backend: SocketAddr) {
    let settings = Settings { pipes: 0, ..Settings::default() };
    let handle = proxy_with(settings, &[backend]);
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 20), maximum }).unwrap();
    println!("\nlistening {}", handle.listening()[0]);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert!(handle.alive(std::time::Duration::from_secs(1)));
    let stats = handle.stats();
    let starved = stats.rejected.descriptors > 0 && stats.accept_errors > 0;
    println!("was starved: {starved}");
    assert!(starved, "{stats:?}");
}
