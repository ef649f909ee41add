use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use super::{Command, Handle, Proxy, Settings};

/// This number of clients that are served and stay.
fn clients(handle: &Handle, number: usize) -> Vec<TcpStream> {
    let served = |_| {
        let mut client = TcpStream::connect(handle.listening()[0]).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        client
    };
    (0..number).map(served).collect()
}

/// Has so many threads take clients, and waits until all know.
fn muster(handle: &Handle, threads: usize) {
    handle.0.shared.working.store(threads, Relaxed);
    handle.0.shared.threads.iter().for_each(|thread| thread.send(Command::Muster));
    // They do one thing after the other.
    handle.resume_accepting();
}

fn open(handle: &Handle) -> Vec<usize> {
    handle.stats().threads.iter().map(|thread| thread.open).collect()
}

#[test]
fn clients_go_to_those_threads_that_take_some() {
    let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = backend.local_addr().unwrap();
    thread::spawn(move || {
        let answered = |mut stream: TcpStream| stream.write_all(b"y").map(|()| stream);
        // Kept until the end of the test.
        backend.incoming().flatten().map(answered).collect::<Vec<_>>()
    });
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let settings = Settings { listen, threads: 4, ..Settings::default() };
    let handle = Proxy::bind(settings).unwrap().start_with(&[address]).unwrap();

    let _first = clients(&handle, 40);
    assert_eq!(open(&handle), [40, 0, 0, 0]);

    muster(&handle, 4);
    let _second = clients(&handle, 60);
    let spread = open(&handle);
    assert_eq!(spread[0], 40, "{spread:?}");
    assert!(spread[1..].iter().all(|open| (18..=22).contains(open)), "{spread:?}");

    muster(&handle, 2);
    let _third = clients(&handle, 10);
    assert_eq!(open(&handle), [40, spread[1] + 10, spread[2], spread[3]]);

    muster(&handle, 1);
    let _fourth = clients(&handle, 10);
    assert_eq!(open(&handle), [50, spread[1] + 10, spread[2], spread[3]]);
}
