//! Every client that was accepted is counted once by how it ended.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use common::{
    HELLO, LONG, answer, backend, connect, eventually, named, proxy_with, refused, reset, stopped,
};
use proxy::{Handle, Settings};

/// What a client does, by its number.
fn visit(number: usize, handle: &Handle) {
    // The proxy may reset it at any time: whatever fails here is its answer.
    let Ok(mut client) = TcpStream::connect(handle.listening()[0]) else { return };
    client.set_read_timeout(Some(LONG)).unwrap();
    match number % 6 {
        0 => reset(client),
        1 => drop(client),
        2 => {
            let _ = client.write_all(HELLO);
            let _ = answer(&mut client);
        }
        3 => {
            let _ = client.write_all(&HELLO[..50]);
            reset(client);
        }
        4 => {
            let _ = client.write_all(b"POST");
            let _ = client.shutdown(Shutdown::Write);
            client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = client.read(&mut [0; 10]);
        }
        _ => {
            let _ = client.write_all(HELLO);
            thread::sleep(Duration::from_millis(1));
            reset(client);
        }
    }
}

/// Accepted = open + rejected + unserved + gone + served and ended.
fn adds_up(handle: &Handle) -> bool {
    let stats = handle.stats();
    let served: u64 = stats.backends.iter().map(|backend| backend.served).sum();
    let serving: usize = stats.backends.iter().map(|backend| backend.open).sum();
    assert!(serving <= stats.open, "{stats:?}");
    let undecided = (stats.open - serving) as u64;
    stats.accepted == undecided + served + stats.rejected.total() + stats.unserved + stats.gone
}

/// This number of clients from each of four threads, before these backends.
fn storm(clients: usize, max_connections: usize, backends: &[SocketAddr]) -> Handle {
    let settings = Settings { max_connections, ..Settings::default() };
    let handle = proxy_with(settings, backends);
    thread::scope(|scope| {
        for first in 0..4 {
            let handle = &handle;
            scope.spawn(move || (first..first + clients).for_each(|number| visit(number, handle)));
        }
    });
    let came = 4 * clients as u64;
    eventually("all accepted", || handle.stats().accepted == came);
    handle
}

#[test]
fn every_client_is_counted_once_whatever_it_and_its_backend_do() {
    let dying = backend(|mut client| {
        let _ = answer(&mut client);
        reset(client);
    });
    let ending = backend(drop);
    let alive = named(b'a').0;
    for backends in [
        vec![alive],
        vec![alive, refused(), dying, ending],
        vec![refused(), refused()],
        vec![dying],
        vec![],
    ] {
        let handle = storm(120, 3, &backends);
        eventually("all closed", || handle.stats().open == 0);
        assert!(adds_up(&handle), "{backends:?}: {:?}", handle.stats());
    }
}

#[test]
fn clients_that_the_owner_has_reset_count_too() {
    let (silent, _listener) = stopped();
    let handle = proxy_with(Settings::default(), &[silent]);
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = connect(&handle);
            // A whole ClientHello waits for its answer, plain bytes are that backend's alone.
            client.write_all(if number < 15 { HELLO } else { b"POST" }).unwrap();
            client
        })
        .collect();
    eventually("decided", || handle.stats().backends[0].served == 5);
    assert!(adds_up(&handle));
    let drained = handle.drain(Duration::ZERO);
    assert_eq!(drained.reset, 20);
    eventually("all closed", || handle.stats().open == 0);
    let stats = handle.stats();
    assert_eq!((stats.gone, stats.unserved), (15, 0), "{stats:?}");
    assert!(adds_up(&handle));
    drop(clients);
    assert!(handle.alive(LONG));
}
