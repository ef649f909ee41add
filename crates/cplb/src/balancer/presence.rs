//! Which nodes take what IPVS sends them.
//!
//! By DR and TUN a real server has to carry the virtual address itself. Without its cplb a node does not, and
//! drops every packet for it, however healthy its apiserver is. So each node listens on the port of the proxy, for
//! which there is no other use with IPVS, as long as it carries the addresses; and one that refuses there gets no
//! connections. Only a refusal counts: silence may be a firewall's.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often every node is asked, and how long it has to answer.
const EVERY: Duration = Duration::from_secs(1);

/// Within this time all others know that a node leaves: they have asked, and changed their services.
pub(crate) const NOTICE: Duration = Duration::from_millis(2_500);

/// Tells others that this node carries the virtual addresses, and asks them, until dropped.
pub(crate) struct Presence {
    listening: Option<JoinHandle<()>>,
    looking: JoinHandle<()>,
    asked: watch::Sender<BTreeSet<IpAddr>>,
    absent: watch::Receiver<BTreeSet<IpAddr>>,
}

impl Presence {
    /// Starts it, on the current tokio runtime.
    pub(crate) fn start(port: u16) -> Self {
        let listening = match listen(port) {
            Ok(listener) => Some(tokio::spawn(accept(listener))),
            Err(error) => {
                // Whoever listens there instead does not refuse either.
                tracing::warn!(port, %error, "cannot tell the other nodes that this one carries the virtual IP");
                None
            }
        };
        let (asked, nodes) = watch::channel(BTreeSet::new());
        let (tell, absent) = watch::channel(BTreeSet::new());
        let looking = tokio::spawn(look(port, nodes, tell));
        Self { listening, looking, asked, absent }
    }

    /// Of these servers those on nodes that carry the virtual addresses, as far as is known; all when nobody
    /// does. These are the ones to be asked from now on.
    pub(crate) fn of(&self, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        self.asked.send_replace(servers.iter().map(SocketAddr::ip).collect());
        let absent = self.absent.borrow();
        let present: Vec<SocketAddr> =
            servers.iter().filter(|server| !absent.contains(&server.ip())).copied().collect();
        if present.is_empty() { servers.to_vec() } else { present }
    }

    /// Waits until a node has come or gone.
    pub(crate) async fn changed(&mut self) {
        if self.absent.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets the others know that this node leaves, which takes [`NOTICE`]; to itself it is there until the end.
    pub(crate) fn leave(&self) {
        self.looking.abort();
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.leave();
    }
}

/// On all addresses of both families, or of IPv4 where there is no IPv6.
fn listen(port: u16) -> io::Result<TcpListener> {
    let bind = |address: IpAddr| {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(address, port).into())?;
        socket.listen(64)?;
        TcpListener::from_std(socket.into())
    };
    bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error: io::Error| match error.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
        _ => bind(Ipv4Addr::UNSPECIFIED.into()),
    })
}

/// A connection says everything by being accepted.
async fn accept(listener: TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            // Out of descriptors. Who waits in the queue is not refused.
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn look(
    port: u16,
    nodes: watch::Receiver<BTreeSet<IpAddr>>,
    tell: watch::Sender<BTreeSet<IpAddr>>,
) {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let nodes = nodes.borrow().clone();
        let mut asking: JoinSet<Option<IpAddr>> = JoinSet::new();
        for node in nodes {
            asking.spawn(async move { refuses(SocketAddr::new(node, port)).await.then_some(node) });
        }
        let absent: BTreeSet<IpAddr> = asking.join_all().await.into_iter().flatten().collect();
        let before = tell.borrow().clone();
        for node in absent.difference(&before) {
            tracing::warn!(%node, "this node does not carry the virtual IP, is its cplb running? its apiserver gets no connections by IPVS");
        }
        for node in before.difference(&absent) {
            tracing::info!(%node, "this node carries the virtual IP, its apiserver gets connections by IPVS");
        }
        tell.send_if_modified(|told| {
            let changed = *told != absent;
            *told = absent;
            changed
        });
    }
}

async fn refuses(door: SocketAddr) -> bool {
    let outcome = timeout(EVERY, TcpStream::connect(door)).await;
    matches!(outcome, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// A port that nobody has now.
    fn free_port() -> u16 {
        std::net::TcpListener::bind(("::", 0)).unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_node_that_leaves_refuses() {
        let port = free_port();
        runtime().block_on(async {
            let node = Presence::start(port);
            assert!(!refuses(SocketAddr::new(HERE, port)).await);
            node.leave();
            let refused = async {
                while !refuses(SocketAddr::new(HERE, port)).await {
                    tokio::task::yield_now().await;
                }
            };
            timeout(EVERY, refused).await.unwrap();
        });
    }

    #[test]
    fn a_node_that_refuses_is_left_out_until_it_is_back() {
        let port = free_port();
        runtime().block_on(async {
            let listen = |address| std::net::TcpListener::bind((address, port)).unwrap();
            let (node, _other) = (listen("127.0.0.1"), listen("127.0.0.2"));
            let servers = ["127.0.0.1:6443", "127.0.0.2:6443"].map(|it| it.parse().unwrap());
            let mut director = Presence::start(port);
            assert_eq!(director.of(&servers), servers, "nothing is known yet");
            drop(node);
            let left = tokio::time::Instant::now();
            director.changed().await;
            assert!(left.elapsed() < NOTICE, "{:?}", left.elapsed());
            assert_eq!(director.of(&servers), servers[1..]);
            let _back = listen("127.0.0.1");
            director.changed().await;
            assert_eq!(director.of(&servers), servers);
        });
    }

    #[test]
    fn where_all_refuse_all_are_used() {
        let port = free_port();
        runtime().block_on(async {
            let servers = [SocketAddr::new(HERE, 6443)];
            let mut director = Presence::start(port);
            director.listening.take().unwrap().abort();
            director.of(&servers);
            director.changed().await;
            assert_eq!(director.of(&servers), servers);
        });
    }
}
