use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};

use rustix::thread::set_thread_uid;

use super::*;
use crate::sockets;

/// Listens as the user of the pods would.
fn as_pod(address: SocketAddr) -> io::Result<OwnedFd> {
    std::thread::spawn(move || {
        set_thread_uid(Uid::from_raw(pod::USER))?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, 16)?;
        Ok(socket)
    })
    .join()
    .unwrap()
}

fn listeners(address: SocketAddr) -> usize {
    sockets::at(&BTreeSet::from([address])).iter().filter(|it| it.listens()).count()
}

#[test]
fn a_pod_listens_where_it_is_let_and_nowhere_else() {
    if !geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = own.local_addr().unwrap();
    let in_use = |it: io::Result<OwnedFd>| it.unwrap_err().kind() == io::ErrorKind::AddrInUse;
    assert!(in_use(as_pod(address)));
    share(&own).unwrap();
    let pod = as_pod(address).unwrap();
    assert_eq!(listeners(address), 2);
    keep(&own).unwrap();
    assert!(in_use(as_pod(address)));

    // It has the port alone now, and this process comes back beside it.
    drop(own);
    let own = listen_beside(address).unwrap();
    assert_eq!(listeners(address), 2);
    drop(pod);
    assert!(in_use(as_pod(address)), "it is not shared any more");
    let client = TcpStream::connect(address).unwrap();
    let (_, from) = TcpListener::from(own).accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
}

#[test]
fn nobody_listens_beside_one_who_does_not_share() {
    for ip in ["127.0.0.1", "::1"] {
        let Ok(other) = TcpListener::bind((ip, 0)) else { continue };
        assert!(listen_beside(other.local_addr().unwrap()).is_err());
    }
}
