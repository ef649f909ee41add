//! Who holds the virtual IP, and when: as each node's kernel tells it, not as the controllers believe.
//!
//! With IPVS every node carries the virtual IP on a dummy link, for the packets that the director sends it. That is not
//! holding it: nobody on the wire hears of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use kernel::address::{Addresses, Found};
use kernel::link::{self, Link};
use kernel::monitor::{Event, Monitor};
use kernel::netlink::{Protocol, Socket};
use kernel::netns::Namespace;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::Error;

mod holdings;

pub use holdings::{Change, Holdings};

/// Watches one address on many nodes, on a thread of its own, until dropped.
pub struct Observer {
    holdings: Arc<Mutex<Holdings>>,
    /// Closing it ends the thread.
    alive: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Watches `address` on `nodes`, which are numbered as given; times count from `origin`.
    ///
    /// # Errors
    /// When the kernel refuses a netlink socket or a thread.
    pub fn start(nodes: &[&Namespace], address: IpAddr, origin: Instant) -> Result<Self, Error> {
        let system = |what| move |source| Error::System { what, source };
        let holdings = Arc::new(Mutex::new(Holdings::default()));
        let mut watched = Vec::new();
        for (number, namespace) in nodes.iter().enumerate() {
            watched.push(namespace.run(|| Watched::open(number))??);
        }
        for one in &mut watched {
            one.list(address, origin, &holdings)?;
        }
        // Not for the processes started later: an end that one of them kept open would never close.
        let (ended, alive) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno| system("a pipe")(errno.into()))?;
        let shared = Arc::clone(&holdings);
        let thread = std::thread::Builder::new()
            .name("observer".to_owned())
            .spawn(move || observe(&mut watched, &ended, address, origin, &shared))
            .map_err(system("a thread"))?;
        Ok(Self { holdings, alive: Some(alive), thread: Some(thread) })
    }

    /// What was seen so far.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        lock(&self.holdings).clone()
    }

    /// The nodes that hold the address now.
    #[must_use]
    pub fn holders(&self) -> Vec<usize> {
        lock(&self.holdings).now()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Whether the node of the calling thread's namespace holds the address now.
pub(crate) fn holds(address: IpAddr) -> Result<bool, kernel::Error> {
    let dummies = dummies(&mut Socket::open(Protocol::Route)?)?;
    Ok(is_held(address, &Addresses::open()?.list()?, &dummies))
}

/// One node's sockets.
struct Watched {
    node: usize,
    monitor: Monitor,
    links: Socket,
    addresses: Addresses,
    /// The indices of its dummy links.
    dummies: BTreeSet<u32>,
}

impl Watched {
    /// Opens them in the namespace of the calling thread.
    fn open(node: usize) -> Result<Self, kernel::Error> {
        // First the monitor, then the lists: nothing can happen unseen in between.
        let monitor = Monitor::open()?;
        let links = Socket::open(Protocol::Route)?;
        Ok(Self { node, monitor, links, addresses: Addresses::open()?, dummies: BTreeSet::new() })
    }

    fn list(
        &mut self,
        address: IpAddr,
        origin: Instant,
        holdings: &Mutex<Holdings>,
    ) -> Result<(), Error> {
        self.dummies = dummies(&mut self.links)?;
        let held = is_held(address, &self.addresses.list()?, &self.dummies);
        lock(holdings).record(origin.elapsed(), self.node, held);
        Ok(())
    }

    fn catch_up(
        &mut self,
        address: IpAddr,
        origin: Instant,
        holdings: &Mutex<Holdings>,
    ) -> Result<(), Error> {
        while let Some(event) = self.monitor.next_event()? {
            let held = match event {
                Event::AddressAdded(found) if self.counts(&found, address) => true,
                Event::AddressGone(found) if self.counts(&found, address) => false,
                Event::LinkChanged(link) => {
                    if is_dummy(&link) {
                        self.dummies.insert(link.index);
                    }
                    continue;
                }
                Event::Resync => {
                    self.list(address, origin, holdings)?;
                    continue;
                }
                _ => continue,
            };
            lock(holdings).record(origin.elapsed(), self.node, held);
        }
        Ok(())
    }

    fn counts(&self, found: &Found, address: IpAddr) -> bool {
        is_held(address, std::slice::from_ref(found), &self.dummies)
    }
}

fn is_held(address: IpAddr, found: &[Found], dummies: &BTreeSet<u32>) -> bool {
    found.iter().any(|found| found.address == address && !dummies.contains(&found.link_index))
}

/// The indices of all dummy links.
fn dummies(socket: &mut Socket) -> Result<BTreeSet<u32>, kernel::Error> {
    let links = link::list(socket)?;
    Ok(links.iter().filter(|link| is_dummy(link)).map(|link| link.index).collect())
}

fn is_dummy(link: &Link) -> bool {
    link.kind.as_deref() == Some("dummy")
}

fn observe(
    watched: &mut [Watched],
    ended: &OwnedFd,
    address: IpAddr,
    origin: Instant,
    holdings: &Mutex<Holdings>,
) {
    loop {
        let mut waiting: Vec<PollFd<'_>> = watched
            .iter()
            .map(|one| PollFd::from_borrowed_fd(one.monitor.as_fd(), PollFlags::IN))
            .collect();
        waiting.push(PollFd::new(ended, PollFlags::IN));
        match poll(&mut waiting, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                tracing::error!(%errno, "the observer cannot wait: holders are no longer seen");
                return;
            }
        }
        let end = waiting.last().is_some_and(|waited| !waited.revents().is_empty());
        drop(waiting);
        if end {
            return;
        }
        for one in watched.iter_mut() {
            if let Err(error) = one.catch_up(address, origin, holdings) {
                tracing::error!(node = one.node, %error, "the observer does not see a node any more");
                return;
            }
        }
    }
}

fn lock(holdings: &Mutex<Holdings>) -> MutexGuard<'_, Holdings> {
    // A panic elsewhere leaves the list of changes whole: each is one push.
    holdings.lock().unwrap_or_else(PoisonError::into_inner)
}
