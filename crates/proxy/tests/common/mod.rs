//! Backends of every temper, and a proxy before them.

#![allow(dead_code, reason = "every test file uses a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use proxy::{Handle, Proxy, Settings};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Captured from `openssl s_client -servername kubernetes`, OpenSSL 3.0.19.
pub(crate) const HELLO: &[u8] = include_bytes!("../data/client-hello-openssl.bin");

/// No test waits longer than this for anything.
pub(crate) const LONG: Duration = Duration::from_secs(5);

/// A proxy on 127.0.0.1 with four threads at work, before these backends.
pub(crate) fn proxy(backends: &[SocketAddr]) -> Handle {
    proxy_with(Settings::default(), backends)
}

/// The same with other settings.
pub(crate) fn proxy_with(settings: Settings, backends: &[SocketAddr]) -> Handle {
    let listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
    let settings = Settings { listen, threads: 4, threads_at_rest: 4, ..settings };
    let handle = Proxy::bind(settings).unwrap().start().unwrap();
    handle.set_backends(backends.to_vec());
    handle
}

/// A client of the proxy.
pub(crate) fn connect(handle: &Handle) -> TcpStream {
    connect_to(handle.listening()[0])
}

/// A client that never waits for ever.
pub(crate) fn connect_to(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client.set_write_timeout(Some(LONG)).unwrap();
    client
}

/// Sends `request` and returns the first answer and how long it took, connect included.
pub(crate) fn ask(handle: &Handle, request: &[u8]) -> (std::io::Result<Vec<u8>>, Duration) {
    let begin = Instant::now();
    let mut client = connect(handle);
    let answer = client.write_all(request).and_then(|()| answer(&mut client));
    (answer, begin.elapsed())
}

/// What comes next; an end is an empty answer.
pub(crate) fn answer(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 4096];
    let length = client.read(&mut buffer)?;
    Ok(buffer[..length].to_vec())
}

/// Whether the connection ends by RST, and nothing else, within `LONG`.
pub(crate) fn is_reset(client: &mut TcpStream) -> bool {
    matches!(client.read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

/// Makes the close of a stream an RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A backend that hands each connection to `serve`, on a thread of its own. It lives as long as the
/// test process.
pub(crate) fn backend(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(client));
        }
    });
    address
}

/// A backend that answers every read with `name`, and how many connections it got.
pub(crate) fn named(name: u8) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let address = backend(move |mut client| {
        counter.fetch_add(1, Relaxed);
        let mut buffer = [0; 4096];
        while matches!(client.read(&mut buffer), Ok(1..)) && client.write_all(&[name]).is_ok() {}
    });
    (address, connections)
}

/// A backend that sends back what it gets, and its end.
pub(crate) fn echo() -> SocketAddr {
    backend(|mut client| {
        let mut writer = client.try_clone().unwrap();
        // Fails when the test resets the connection.
        let _ = std::io::copy(&mut client, &mut writer);
        let _ = writer.shutdown(std::net::Shutdown::Write);
    })
}

/// An address where nothing listens.
pub(crate) fn refused() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A backend that is stopped: its kernel accepts for it, and it never answers.
pub(crate) fn stopped() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// A backend whose kernel does not even answer a SYN, as its queue is full.
pub(crate) struct Unanswering {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl Unanswering {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        loop {
            let client = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
            let in_time = client.connect_timeout(&address, Duration::from_millis(100));
            queued.push(client);
            assert!(queued.len() < 10, "the queue does not fill");
            if in_time.is_err() {
                break;
            }
        }
        Self { address: address.as_socket().unwrap(), _listener: listener, _queued: queued }
    }
}
