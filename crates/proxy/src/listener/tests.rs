use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::sockopt;

use super::{AcceptError, Listener};
use crate::error::BindError;
use crate::settings::Settings;

fn listen(address: &str) -> Result<Listener, BindError> {
    Listener::bind(address.parse().unwrap(), &Settings::default())
}

#[test]
fn accepted_sockets_inherit_what_a_connection_needs() {
    let listener = listen("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(listener.arrivals.address).unwrap();
    let (accepted, source) = listener.accept().unwrap();
    assert_eq!(source, Ipv4Addr::LOCALHOST);
    assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    assert!(sockopt::socket_keepalive(&accepted).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&accepted).unwrap().as_secs(), 15);
    assert_eq!(sockopt::tcp_keepintvl(&accepted).unwrap().as_secs(), 5);
    assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 120_000);
    assert_eq!(listener.accept().unwrap_err(), AcceptError::Nobody);
}

#[test]
fn the_unspecified_ipv6_address_takes_ipv4_too() {
    let listener = listen("[::]:0").unwrap();
    let port = listener.arrivals.address.port();
    for address in
        [SocketAddr::from(([127, 0, 0, 1], port)), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()]
    {
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let owner = listen("127.0.0.1:0").unwrap();
    let address = owner.arrivals.address;
    let error = listen(&address.to_string()).unwrap_err();
    assert!(matches!(error, BindError::InUse { address: named } if named == address));
    let port = address.port();
    let hint = format!("`ss -ltnp 'sport = :{port}'`");
    assert!(error.to_string().contains(&hint), "{error}");
}

#[test]
fn a_foreign_address_is_named() {
    // TEST-NET-1 (RFC 5737) belongs to nobody.
    let error = listen("192.0.2.1:0").unwrap_err();
    assert!(matches!(error, BindError::NotLocal { .. }), "{error:?}");
}
