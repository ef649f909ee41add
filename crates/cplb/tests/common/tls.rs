//! A client that keeps its connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use lab::world::World;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{LONG, text};

/// A connection to an apiserver, through whatever.
pub(crate) struct Tls(StreamOwned<ClientConnection, TcpStream>);

/// What a client is made from, on any thread.
pub(crate) fn config(world: &World) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(world.authority().der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Tls {
    /// From where the thread is.
    pub(crate) fn connect(
        config: &Arc<ClientConfig>,
        address: SocketAddr,
    ) -> std::io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&address, LONG)?;
        tcp.set_read_timeout(Some(LONG))?;
        let name = ServerName::try_from("kubernetes").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Ok(Self(StreamOwned::new(tls, tcp)))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Asks something, and waits for the answer, which has a length.
    pub(crate) fn ask(&mut self) -> std::io::Result<()> {
        self.0.write_all(b"GET /version HTTP/1.1\r\nhost: kubernetes\r\n\r\n")?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte)?;
            head.extend(byte);
        }
        let head = text(&head).to_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
        self.0.read_exact(&mut body)
    }
}
