//! A backend that comes back gets its share of the connections that stay open.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{connect, connect_to, echo, proxy_with};
use proxy::{Handle, Settings};

/// Connections ended a second.
const RATE: u32 = 20;

/// It takes 2 s where the machine has time.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings { rebalance: RATE.try_into().ok(), ..Settings::default() }
}

/// How many connections each of these serves.
fn open(handle: &Handle, backends: &[SocketAddr]) -> Vec<usize> {
    let stats = handle.stats().backends;
    let of = |address: &SocketAddr| stats.iter().find(|it| it.address == *address);
    backends.iter().map(|address| of(address).map_or(0, |it| it.open)).collect()
}

/// Sends a few bytes and waits for them.
fn exchange(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
}

/// Clients that connect anew when they are closed, as kubelets do, and are silent otherwise. How
/// often they were.
fn keep_connected(
    address: SocketAddr,
    clients: Vec<TcpStream>,
) -> (Arc<AtomicBool>, Vec<thread::JoinHandle<usize>>) {
    let over = Arc::new(AtomicBool::new(false));
    let keep = |mut client: TcpStream| {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            let mut closed = 0;
            client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            while !over.load(Relaxed) {
                match client.read(&mut [0; 1]) {
                    Ok(0) => {
                        closed += 1;
                        client = connect_to(address);
                        exchange(&mut client);
                        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    unexpected => panic!("an end alone may come, not {unexpected:?}"),
                }
            }
            closed
        })
    };
    let clients = clients.into_iter().map(keep).collect();
    (over, clients)
}

#[test]
fn it_gets_them_at_the_rate_that_is_allowed_and_the_busy_ones_stay() {
    let backends = [echo(), echo(), echo()];
    let handle = proxy_with(settings(), &backends[..2]);
    let client = || {
        let mut client = connect(&handle);
        exchange(&mut client);
        client
    };
    let mut busy: Vec<TcpStream> = (0..10).map(|_| client()).collect();
    let silent: Vec<TcpStream> = (0..50).map(|_| client()).collect();
    assert_eq!(open(&handle, &backends), [30, 30, 0]);

    let (over, silent) = keep_connected(handle.listening()[0], silent);
    let begin = Instant::now();
    handle.set_backends(backends.to_vec());
    // For as long as it takes nothing may happen to those that always have something to say.
    while open(&handle, &backends) != [20, 20, 20] {
        assert!(begin.elapsed() < PATIENCE, "{:?}", open(&handle, &backends));
        busy.iter_mut().for_each(exchange);
        thread::sleep(Duration::from_millis(5));
    }
    let took = begin.elapsed();
    // At 20 a second they take a second, and before that each has to be silent for one.
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    over.store(true, Relaxed);
    let closed: Vec<usize> = silent.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(closed.iter().sum::<usize>(), 20, "{closed:?}");
    let stats = handle.stats();
    assert_eq!((stats.rebalanced, stats.resets), (20, 0));
}

#[test]
fn nothing_is_ended_where_it_is_not_asked_for_or_not_worth_it() {
    let backends = [echo(), echo(), echo()];
    let asked = |settings, first: &[SocketAddr], clients: usize| {
        let handle = proxy_with(settings, first);
        let mut clients: Vec<TcpStream> = (0..clients).map(|_| connect(&handle)).collect();
        clients.iter_mut().for_each(exchange);
        handle.set_backends(backends.to_vec());
        (handle, clients)
    };
    let off = asked(Settings::default(), &backends[..2], 12);
    // The first list is no return, and so few need no rebalancing.
    let first = asked(settings(), &[], 0);
    let few = asked(settings(), &backends[..2], 1);
    thread::sleep(Duration::from_millis(1_500));
    for (handle, mut clients) in [off, first, few] {
        clients.iter_mut().for_each(exchange);
        assert_eq!(handle.stats().rebalanced, 0);
    }
}
