use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use lab::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use crate::common::error::Error;
use crate::common::{VIRTUAL_IP, run_in_time};

/// Where the virtual IP is asked.
pub(crate) const ADDRESS: SocketAddrV4 = SocketAddrV4::new(VIRTUAL_IP, 7);

/// On every node of a world, what is served on the virtual IP: datagrams come back as they are.
///
/// It is no part of the speakers and survives them, as an apiserver does: a node whose speaker is
/// dead still answers as long as its kernel has the address.
pub(crate) struct Service {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The longest that the thread does not look whether it is over.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A flood on one node must not keep the others from being served.
const AT_ONCE: usize = 64;

impl Service {
    pub(crate) fn start(world: &World) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        for node in world.nodes() {
            let opened = node.host().namespace.run(open)?;
            sockets.push(opened.map_err(Error::system("the service's socket"))?);
        }
        let over = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&over);
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(move || {
            run_in_time();
            while !shared.load(Relaxed) {
                serve(&sockets);
            }
        });
        Ok(Self { over, thread: Some(thread.map_err(Error::system("a thread"))?) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Bound to the virtual IP whether the node has it or not. Without it nothing can be sent from it.
fn open() -> std::io::Result<UdpSocket> {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    sockopt::set_ip_freebind(&socket, true)?;
    bind(&socket, &ADDRESS)?;
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn serve(sockets: &[UdpSocket]) {
    let mut waiting: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
        .collect();
    // An interrupted wait is a short one.
    let _woken = poll(&mut waiting, Some(&GLANCE));
    let mut datagram = [0; 64];
    for socket in sockets {
        for _ in 0..AT_ONCE {
            let Ok((length, client)) = socket.recv_from(&mut datagram) else { break };
            // The address may be gone by now: the client finds that there is no answer.
            let _sent = socket.send_to(&datagram[..length], client);
        }
    }
}
