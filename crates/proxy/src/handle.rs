//! The proxy as its owner holds it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::gettid;

use crate::error::{AdoptError, BindError, StartError};
use crate::evidence::Evidence;
use crate::listener::Listener;
use crate::pipes::PipePool;
use crate::settings::Settings;
use crate::shared::{Command, Mailbox, Shared};
use crate::stats::Stats;
use crate::worker::Worker;

/// A proxy that listens and accepts nothing yet: clients queue in the kernel.
#[derive(Debug)]
pub struct Proxy {
    settings: Settings,
    /// Connections that there are descriptors for.
    capacity: usize,
    listeners: Vec<Arc<Listener>>,
    pools: Vec<PipePool>,
    paused: bool,
}

/// A running proxy. Clones are the same proxy; it stops when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Running>);

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves.
    pub finished: usize,
    /// Connections that were reset at the deadline.
    pub reset: usize,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    /// Until it stops accepting.
    listeners: Mutex<Vec<Arc<Listener>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Descriptors left to the rest of the process.
const SPARE_DESCRIPTORS: usize = 64;

/// How long the threads may take to answer, before the answer goes on without them.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// How often a drain looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(5);

impl Proxy {
    /// Listens on all addresses of `settings` and raises the descriptor limit of the process as
    /// far as it goes, as two are needed per connection.
    ///
    /// # Errors
    /// The first address that cannot be listened on, or a want of descriptors for the pipes.
    pub fn bind(settings: Settings) -> Result<Self, BindError> {
        if settings.listen.is_empty() {
            return Err(BindError::NoAddress);
        }
        let listen = |&address| Listener::bind(address, &settings).map(Arc::new);
        let listeners = settings.listen.iter().map(listen).collect::<Result<_, _>>()?;
        Self::on(listeners, settings)
    }

    /// Like [`Proxy::bind`], but takes over sockets that listen already, such as those that
    /// [`Handle::listening_sockets`] of a predecessor or systemd handed over: clients that wait in
    /// their queues are served, and none is refused in between. A socket belongs to an address of
    /// `settings` if it listens there; addresses that have none are bound, sockets that have no
    /// address are closed.
    ///
    /// # Errors
    /// A descriptor that is no listening socket, or what [`Proxy::bind`] says.
    pub fn adopt(settings: Settings, sockets: Vec<OwnedFd>) -> Result<Self, BindError> {
        if settings.listen.is_empty() {
            return Err(BindError::NoAddress);
        }
        let adopt = |socket| Listener::adopt(socket, &settings);
        let mut adopted = sockets.into_iter().map(adopt).collect::<Result<Vec<_>, AdoptError>>()?;
        let mut listeners = Vec::with_capacity(settings.listen.len());
        for &address in &settings.listen {
            let same = adopted.iter().position(|listener| listener.address() == address);
            let listener = match same {
                Some(position) => adopted.swap_remove(position),
                None => Listener::bind(address, &settings)?,
            };
            listeners.push(Arc::new(listener));
        }
        Self::on(listeners, settings)
    }

    fn on(listeners: Vec<Arc<Listener>>, settings: Settings) -> Result<Self, BindError> {
        let settings = Settings { threads: settings.threads.max(1), ..settings };
        let descriptors = raise_descriptor_limit();
        let pool = |_| PipePool::new(settings.pipes);
        let pools: Vec<_> =
            (0..settings.threads).map(pool).collect::<Result<_, _>>().map_err(|source| {
                BindError::Pipes { pipes: settings.pipes * settings.threads, source }
            })?;

        let per_thread = 2 * settings.pipes + 4;
        let taken = SPARE_DESCRIPTORS + listeners.len() + settings.threads * per_thread;
        let capacity = descriptors.saturating_sub(taken) / 2;
        Ok(Self { settings, capacity, listeners, pools, paused: false })
    }

    /// Started, it accepts nobody until [`Handle::resume_accepting`]: somebody else does.
    #[must_use]
    pub fn paused(self) -> Self {
        Self { paused: true, ..self }
    }

    /// Where it listens, with the ports it really has.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.arrivals.stats().address).collect()
    }

    /// Copies of the listening sockets, for [`Proxy::adopt`] of a successor.
    ///
    /// # Errors
    /// A want of descriptors.
    pub fn listening_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.listeners.iter().map(|listener| listener.socket.try_clone()).collect()
    }

    /// Starts the threads. Until [`Handle::set_backends`] every client is reset at once.
    ///
    /// # Errors
    /// A want of descriptors or threads; nothing is left running then.
    pub fn start(self) -> Result<Handle, StartError> {
        self.start_with(&[])
    }

    /// Starts the threads with these backends, so that not even the first client is reset.
    ///
    /// # Errors
    /// Those of [`Proxy::start`].
    pub fn start_with(self, backends: &[SocketAddr]) -> Result<Handle, StartError> {
        let mut mailboxes = Vec::with_capacity(self.pools.len());
        let mut inboxes = Vec::with_capacity(self.pools.len());
        for _ in &self.pools {
            let (mailbox, inbox) = Mailbox::new().map_err(StartError::EventLoop)?;
            mailboxes.push(mailbox);
            inboxes.push(inbox);
        }
        let arrivals = self.listeners.iter().map(|listener| Arc::clone(&listener.arrivals));
        let shared = Shared::new(self.settings, self.capacity, arrivals.collect(), mailboxes);
        shared.backends.replace(backends);
        let running = Running {
            shared: Arc::new(shared),
            listeners: Mutex::new(self.listeners.clone()),
            threads: Mutex::default(),
        };

        let nice = running.shared.settings.nice;
        for (index, (pool, inbox)) in self.pools.into_iter().zip(inboxes).enumerate() {
            let shared = Arc::clone(&running.shared);
            let listeners = self.listeners.clone();
            let worker = Worker::new(index, shared, listeners, pool, inbox, self.paused)
                .map_err(StartError::EventLoop)?;
            let thread = thread::Builder::new()
                .name(format!("proxy-{index}"))
                .spawn(move || {
                    if let Some(nice) = nice {
                        // Linux gives each thread its own; without the permission it goes on.
                        let _ = setpriority_process(Some(gettid()), nice);
                    }
                    worker.run();
                })
                .map_err(StartError::Thread)?;
            running.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Handle(Arc::new(running)))
    }
}

impl Handle {
    /// Where it listens, with the ports it really has.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.0.shared.arrivals.iter().map(|arrivals| arrivals.stats().address).collect()
    }

    /// Whether both are the same proxy.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Replaces the backends that new connections go to; open ones stay where they are. With none,
    /// clients are still accepted, and reset at once.
    pub fn set_backends(&self, backends: Vec<SocketAddr>) {
        let replaced = self.0.shared.backends.replace(&backends);
        if replaced.has_changed {
            tracing::info!(?backends, "usable backends");
        }
        if replaced.has_joined && self.0.shared.terms.load().rebalance.is_some() {
            self.0.shared.threads.iter().take(1).for_each(|first| first.send(Command::Rebalance));
        }
    }

    /// Goes by the choice, the limits, the allowed sources and the rebalancing of these settings from
    /// now on; all others stay as they are. That is for new clients: nobody is sent away who is
    /// here, and who came while no limit per source was set does not count against one.
    pub fn change(&self, settings: &Settings) {
        self.0.shared.change(settings);
    }

    /// Resets the connections to `backend` after the grace of the settings, unless it is usable
    /// again by then.
    pub fn eject(&self, backend: SocketAddr) {
        let grace = self.0.shared.settings.ejected_grace;
        tracing::info!(%backend, ?grace, "connections to an ejected backend will be reset");
        let at = Instant::now() + grace;
        for thread in &self.0.shared.threads {
            thread.send(Command::Eject { backend, at });
        }
    }

    /// What the traffic shows about the backends from now on, each thing at most every 100 ms and
    /// [`EvidenceKind::Answered`](crate::EvidenceKind::Answered) at most every second. Who reads
    /// too slowly misses some.
    pub fn evidence(&self) -> Receiver<Evidence> {
        self.0.shared.subscribers.subscribe()
    }

    /// Whether every thread's loop has turned `within` this time. An idle loop turns every 250 ms,
    /// so that a useful time is above that.
    pub fn alive(&self, within: Duration) -> bool {
        let shared = &self.0.shared;
        let now = shared.since_start(Instant::now()).as_millis() as u64;
        let oldest = now.saturating_sub(within.as_millis() as u64);
        shared.threads.iter().all(|thread| thread.turned.load(Relaxed) >= oldest)
    }

    /// Resets every client that connected to one of these addresses, as seen before any
    /// redirection to the proxy: for a virtual IP that leaves this node. Says how many. Returns
    /// after 100 ms at the latest; a thread that is late resets its part as soon as it can.
    pub fn reset_if(&self, original_destination_in: &[IpAddr]) -> usize {
        let destinations: Arc<[IpAddr]> =
            original_destination_in.iter().map(IpAddr::to_canonical).collect();
        self.ask(|answer| Command::Reset { destinations: Some(Arc::clone(&destinations)), answer })
    }

    /// Accepts nobody for now: clients wait in the kernel's queue, until it is full. Open
    /// connections go on.
    pub fn pause_accepting(&self) {
        self.ask(|answer| Command::Accept { whether: false, answer });
    }

    /// Goes on after [`Handle::pause_accepting`].
    pub fn resume_accepting(&self) {
        self.ask(|answer| Command::Accept { whether: true, answer });
    }

    /// Copies of the listening sockets, for [`Proxy::adopt`] of a successor in this process or in
    /// another one; none once it has stopped accepting. Both may accept at the same time. Once the
    /// successor has started, [`Handle::drain`] ends this one, and no client is refused.
    ///
    /// # Errors
    /// A want of descriptors.
    pub fn listening_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(|listener| listener.socket.try_clone()).collect()
    }

    /// Closes the listeners; open connections go on. Clients that wait in the kernel's queue are
    /// still served.
    pub fn stop_accepting(&self) {
        self.0.forget_listeners();
        self.ask(|answer| Command::StopAccepting { answer });
    }

    /// Stops accepting, waits up to `deadline` for the connections to end and resets the others.
    pub fn drain(&self, deadline: Duration) -> Drained {
        let end = Instant::now() + deadline;
        self.stop_accepting();
        let open = || self.0.shared.open.load(Relaxed);
        let begun = open();
        while open() > 0 && Instant::now() < end {
            sleep(DRAIN_POLL.min(end.saturating_duration_since(Instant::now())));
        }
        let reset = self.ask(|answer| Command::Reset { destinations: None, answer });
        Drained { finished: begun.saturating_sub(reset), reset }
    }

    /// Resets everything, ends the threads and waits for them.
    pub fn shutdown(self) {
        self.0.end();
        let threads =
            std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so, and there is nothing left of it to end.
            let _ = thread.join();
        }
    }

    /// Counters and what is open now.
    pub fn stats(&self) -> Stats {
        self.0.shared.stats()
    }

    /// Asks all threads and adds up the answers that come in time.
    fn ask(&self, command: impl Fn(SyncSender<usize>) -> Command) -> usize {
        let threads = &self.0.shared.threads;
        let (sender, answers) = sync_channel(threads.len());
        for thread in threads {
            thread.send(command(sender.clone()));
        }
        drop(sender);
        let end = Instant::now() + ANSWER_WITHIN;
        let next = || answers.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).sum()
    }
}

impl Running {
    /// Leaves them to the threads, which close them.
    fn forget_listeners(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn end(&self) {
        self.forget_listeners();
        for thread in &self.shared.threads {
            thread.send(Command::End);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Raises the soft limit to the hard one and says what it is now.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
