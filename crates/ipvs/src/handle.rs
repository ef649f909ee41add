//! The services of this node, kept by a thread of their own.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kernel::ipvs::LastWill;
use tracing::{info, warn};

use crate::real_servers::LeftOut;
use crate::{Director, Error, Installed, Overview, Settings};

/// The services of this node, kept by a thread of their own.
///
/// Its calls may be made from any thread, also from one that must not wait for long: the kernel
/// makes the changes in a millisecond or so, and no call but [`Handle::apply`] waits longer than a
/// tenth of a second. The thread looks after everything once a second and mends what others have
/// changed. Dropping it undoes everything.
///
/// Where this process is killed, or hangs for three seconds, its services go nevertheless: another
/// process sees to that ([`LastWill`]). Link and parameters stay, so that the apiserver of this
/// node goes on to be one of the real servers.
pub struct Handle {
    commands: Sender<Command>,
    overview: Arc<ArcSwap<Overview>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Usable(Vec<SocketAddr>),
    Hold(Vec<IpAddr>, SyncSender<()>),
    Release(Vec<IpAddr>, SyncSender<()>),
    Services(SyncSender<Result<Vec<Installed>, Error>>),
    Apply(Box<Settings>, SyncSender<Result<(), Error>>),
    Stop,
}

/// The services outlive a process that says nothing for so long, like the virtual addresses.
const SILENCE: Duration = Duration::from_secs(3);

/// How often everything is compared with what is wanted.
const EVERY: Duration = Duration::from_secs(1);

/// So long a change of the services is waited for. It takes far less; but container churn can keep
/// the kernel's locks for seconds, and a virtual address without its services for a moment is
/// better than none.
const PATIENCE: Duration = Duration::from_millis(100);

impl Handle {
    /// Opens a [`Director`] in the network namespace of the calling thread, on a thread of its own.
    /// Nothing is left changed in the kernel when that fails.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let (commands, receiver) = mpsc::channel();
        let (opened, outcome) = mpsc::sync_channel(1);
        let overview = Arc::new(ArcSwap::default());
        let told = Arc::clone(&overview);
        let work = move || match Keeper::open(settings, told) {
            Ok(keeper) => {
                let _ = opened.send(Ok(()));
                keeper.run(&receiver);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread =
            thread::Builder::new().name("ipvs".into()).spawn(work).map_err(Error::Thread)?;
        outcome.recv().unwrap_or_else(|_| Err(no_answer()))?;
        Ok(Self { commands, overview, thread: Some(thread) })
    }

    /// Names the real servers that may be used. Does not wait. Before the first time there are none,
    /// and a service refuses every connection.
    pub fn set_usable(&self, usable: Vec<SocketAddr>) {
        self.give(Command::Usable(usable));
    }

    /// Installs the services of addresses that are about to come to this node; `false` when that
    /// is not done after a tenth of a second, and goes on.
    pub fn hold(&self, addresses: &[IpAddr]) -> bool {
        self.give_and_wait(PATIENCE, |done| Command::Hold(addresses.to_vec(), done)).is_some()
    }

    /// Winds up the services of addresses that are about to leave this node: what is established
    /// is passed on for half a second more. `false` as with [`Handle::hold`].
    pub fn release(&self, addresses: &[IpAddr]) -> bool {
        self.give_and_wait(PATIENCE, |done| Command::Release(addresses.to_vec(), done)).is_some()
    }

    /// Changes the settings and waits until that is done. An error says that the earlier ones are
    /// still in force.
    pub fn apply(&self, settings: Settings) -> Result<(), Error> {
        let patience = Duration::from_secs(10);
        self.give_and_wait(patience, |done| Command::Apply(Box::new(settings), done))
            .unwrap_or_else(|| Err(no_answer()))
    }

    /// The services as they are in the kernel at this moment, with their real servers and the
    /// numbers of connections; none on a node that does not hold their addresses.
    pub fn services(&self) -> Result<Vec<Installed>, Error> {
        self.give_and_wait(PATIENCE, Command::Services).unwrap_or_else(|| Err(no_answer()))
    }

    /// What this node balances, without waiting for it.
    pub fn overview(&self) -> Arc<Overview> {
        self.overview.load_full()
    }

    fn give(&self, command: Command) {
        // A thread that has ended needs no commands.
        let _ = self.commands.send(command);
    }

    /// `None` when there is no answer in time.
    fn give_and_wait<T>(
        &self,
        patience: Duration,
        command: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Option<T> {
        let (done, answer) = mpsc::sync_channel(1);
        self.give(command(done));
        answer.recv_timeout(patience).ok()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.give(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Handle").field("overview", &self.overview).finish_non_exhaustive()
    }
}

fn no_answer() -> Error {
    Error::Thread(io::Error::other("it does not answer"))
}

/// `None` where there are no services to remove.
fn start_last_will(director: &Director) -> Result<Option<LastWill>, Error> {
    if !director.makes_services() {
        return Ok(None);
    }
    let last_will = LastWill::start(SILENCE)?;
    director.renew(&last_will)?;
    Ok(Some(last_will))
}

/// What the thread works with.
struct Keeper {
    director: Director,
    last_will: Option<LastWill>,
    published: Arc<ArcSwap<Overview>>,
    current: Overview,
}

impl Keeper {
    fn open(settings: Settings, published: Arc<ArcSwap<Overview>>) -> Result<Self, Error> {
        let director = Director::open(settings)?;
        match start_last_will(&director) {
            Ok(last_will) => {
                Ok(Self { director, last_will, published, current: Overview::default() })
            }
            Err(error) => {
                director.remove()?;
                Err(error)
            }
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        let mut look = Instant::now() + EVERY;
        loop {
            let due = self.director.next_deadline().map_or(look, |deadline| deadline.min(look));
            match commands.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.look_after();
                    self.renew_last_will();
                    look = Instant::now() + EVERY;
                }
            }
        }
        if let Err(error) = self.director.remove() {
            warn!(%error, "cannot undo what was changed for IPVS; `cplb cleanup` tries again");
        }
    }

    fn handle(&mut self, command: Command) {
        let now = Instant::now();
        // Nobody waits any more for an answer that comes too late.
        match command {
            Command::Usable(usable) => {
                let outcome = self.director.set_usable(&usable, now);
                self.take_usable(outcome);
            }
            Command::Hold(addresses, done) => {
                let outcome = self.director.hold(&addresses, now);
                let _ = done.send(());
                self.tell(outcome);
            }
            Command::Release(addresses, done) => {
                let outcome = self.director.release(&addresses, now);
                let _ = done.send(());
                self.tell(outcome);
            }
            Command::Apply(settings, done) => {
                let outcome = self.director.apply(*settings, now);
                self.renew_last_will();
                let _ = done.send(outcome);
            }
            Command::Services(done) => {
                let _ = done.send(self.director.services());
            }
            Command::Stop => {}
        }
    }

    /// Starts it anew where somebody has ended it.
    fn renew_last_will(&mut self) {
        let outcome = match &self.last_will {
            Some(last_will) => self.director.renew(last_will),
            None => Ok(()),
        };
        if outcome.is_ok() && self.last_will.is_some() == self.director.makes_services() {
            return;
        }
        self.last_will = None;
        match start_last_will(&self.director) {
            Ok(last_will) => self.last_will = last_will,
            Err(error) => warn!(%error, "a crash of this process would leave IPVS services behind"),
        }
    }

    fn look_after(&mut self) {
        let deadline = self.director.next_deadline();
        let now = Instant::now();
        let was_due = deadline.is_some_and(|deadline| deadline <= now);
        let outcome = self.director.reconcile(now);
        if let Ok(true) = outcome
            && !was_due
            && self.current.error.is_none()
        {
            warn!("somebody changed the IPVS services or what they need; they are as they were");
        }
        self.tell(outcome.map(drop));
    }

    fn take_usable(&mut self, outcome: Result<Vec<LeftOut>, Error>) {
        if let Ok(left_out) = &outcome {
            for new in left_out.iter().filter(|it| !self.current.left_out.contains(it)) {
                warn!("{new}");
            }
            self.current.left_out.clone_from(left_out);
        }
        self.tell(outcome.map(drop));
    }

    /// Logs an error once, and its end. Publishes what there is now.
    fn tell(&mut self, outcome: Result<(), Error>) {
        let error = outcome.err().map(|error| error.to_string());
        if error != self.current.error {
            match &error {
                Some(error) => warn!(%error, "the IPVS services are not as they should be"),
                None => info!("the IPVS services are as they should be again"),
            }
        }
        self.current.error = error;
        self.publish();
    }
    fn publish(&mut self) {
        // What cannot be read is not there for people either; the error is told elsewhere.
        self.current.services = self.director.services().unwrap_or_default();
        self.published.store(Arc::new(self.current.clone()));
    }
}
