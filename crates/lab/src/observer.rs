//! Who holds the virtual IP, and when: as each node's kernel tells it, not as the controllers believe.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use kernel::address::Addresses;
use kernel::monitor::{Event, Monitor};
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
            let (monitor, addresses) = namespace.run(|| {
                // First the monitor, then the list: nothing can happen unseen in between.
                Ok::<_, kernel::Error>((Monitor::open()?, Addresses::open()?))
            })??;
            watched.push(Watched { node: number, monitor, addresses });
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

/// One node's sockets.
struct Watched {
    node: usize,
    monitor: Monitor,
    addresses: Addresses,
}

impl Watched {
    fn list(
        &mut self,
        address: IpAddr,
        origin: Instant,
        holdings: &Mutex<Holdings>,
    ) -> Result<(), Error> {
        let held = self.addresses.list()?.iter().any(|found| found.address == address);
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
                Event::AddressAdded(found) if found.address == address => true,
                Event::AddressGone(found) if found.address == address => false,
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
