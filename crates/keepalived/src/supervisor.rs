mod hearing;
mod telling;
mod trials;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::sleep_until;

use self::trials::Trials;
use crate::back_off::BackOff;
use crate::files::{Files, Given};
use crate::leftovers::{remove_addresses, remove_services};
use crate::log_line::Reason;
use crate::process::Process;
use crate::relay::Relay;
use crate::watchdog::Watchdog;
use crate::{Applied, Checked, Error, Event, InstanceStatus, Status};

/// What the supervisor acts upon.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing hangs.
    Beat,
    Ready(bool),
    RealServers(Vec<SocketAddr>),
    /// The other nodes; this one may be among them.
    Peers(Vec<IpAddr>),
    Apply(Box<Checked>, mpsc::Sender<Result<Applied, Error>>),
    HandOver(Duration),
    Stop,
    /// A line of keepalived's log.
    Log(String),
    /// A line of its notify FIFO.
    Notice(String),
}

/// Starts keepalived, follows what it does, and starts it again.
pub(crate) struct Supervisor {
    checked: Checked,
    files: Files,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
    inputs: UnboundedReceiver<Input>,
    sender: UnboundedSender<Input>,
    published: Arc<ArcSwap<Status>>,
    status: Status,
    process: Option<Process>,
    watchdog: Watchdog,
    back_off: BackOff,
    again_at: Option<Instant>,
    trials: Trials,
    look_at: Instant,
    stopped_since: Option<Instant>,
    ready: bool,
    /// Until when a hand-over waits for an heir.
    leaving: Option<Instant>,
    over: bool,
    real_servers: Vec<SocketAddr>,
    peers: Vec<IpAddr>,
    /// As told, by instance.
    ranks: HashMap<String, u8>,
    /// As keepalived read them last.
    virtual_servers: String,
    given: Vec<Given>,
    /// IPVS services that keepalived was given since they were last removed.
    services: Vec<SocketAddr>,
    /// What the log said about each instance since its last transition.
    reasons: HashMap<String, Reason>,
    relay: Relay,
}

const LOOK_EACH: Duration = Duration::from_millis(500);
/// Shorter than three advertisements of a second: nobody else has taken over yet.
const LONGEST_STOP: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(crate) fn new(
        checked: Checked,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
        (sender, inputs): (UnboundedSender<Input>, UnboundedReceiver<Input>),
        published: Arc<ArcSwap<Status>>,
    ) -> Self {
        let files = Files::new(&checked.settings.run_dir);
        let instances = checked.configuration.outlines.iter().map(InstanceStatus::new).collect();
        let version = checked.program.version_text();
        let run_dir = &checked.settings.run_dir;
        let watchdog = Watchdog::new(checked.settings.watchdog.as_deref(), run_dir);
        Self {
            checked,
            files,
            tell,
            inputs,
            sender,
            published,
            status: Status { instances, version, ..Status::default() },
            process: None,
            watchdog,
            back_off: BackOff::default(),
            again_at: None,
            trials: Trials::default(),
            look_at: Instant::now(),
            stopped_since: None,
            ready: false,
            leaving: None,
            over: false,
            real_servers: Vec::new(),
            peers: Vec::new(),
            ranks: HashMap::new(),
            virtual_servers: String::new(),
            given: Vec::new(),
            services: Vec::new(),
            reasons: HashMap::new(),
            relay: Relay::default(),
        }
    }

    /// The thread. Says first whether keepalived could be started.
    pub(crate) fn run(mut self, started: &mpsc::Sender<Result<(), Error>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(Error::Thread(error)))),
        };
        runtime.block_on(async {
            let outcome = self.launch();
            let failed = outcome.is_err();
            self.publish();
            let _ = started.send(outcome);
            if failed {
                let _ = self.clean_up();
                return;
            }
            while !self.over {
                self.turn().await;
                self.publish();
            }
            let outcome = self.finish().await;
            self.publish();
            (self.tell)(Event::Ended(outcome));
        });
        // A name look-up or the like must not hold the end up.
        runtime.shutdown_background();
    }

    async fn turn(&mut self) {
        let again_at = [self.again_at, self.trials.again_at()];
        let deadlines = [Some(self.look_at), self.leaving].into_iter().chain(again_at);
        let deadline = deadlines.flatten().min().unwrap_or(self.look_at);
        let ended = async {
            match &mut self.process {
                Some(process) => process.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(input) = self.inputs.recv() => self.handle(input),
            status = ended => {
                let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                self.died(how).await;
            }
            tried = self.trials.next() => self.tried(tried),
            () = sleep_until(deadline.into()) => self.timeout(),
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Beat => self.beat(),
            Input::Ready(ready) => {
                self.ready = ready;
                self.tell_readiness();
            }
            Input::RealServers(servers) => self.propose(servers),
            Input::Peers(peers) => {
                self.peers = peers;
                self.tell_ranks();
            }
            Input::Apply(checked, reply) => {
                let outcome = self.apply(*checked);
                // Who asked finds the new instances in the status.
                self.publish();
                let _ = reply.send(outcome);
            }
            Input::HandOver(patience) => self.hand_over(patience),
            Input::Stop => self.over = true,
            Input::Log(line) => self.log(&line),
            Input::Notice(line) => self.notice(&line),
        }
    }

    fn timeout(&mut self) {
        let now = Instant::now();
        if self.look_at <= now {
            self.look_at = now + LOOK_EACH;
            self.look(now);
        }
        if self.leaving.is_some_and(|deadline| deadline <= now) {
            self.over = true;
        }
        if self.again_at.is_some_and(|again_at| again_at <= now) {
            self.again_at = None;
            self.try_start();
        }
        if self.trials.again_at().is_some_and(|again_at| again_at <= now) {
            self.propose_again();
        }
    }

    /// Sees to the watchdog and the ranks, and ends a keepalived that was stopped (SIGSTOP) and not soon continued.
    fn look(&mut self, now: Instant) {
        self.tend_watchdog();
        self.hasten();
        self.status.find_sources();
        self.tell_ranks();
        let Some(process) = &mut self.process else { return };
        if !process.is_stopped() {
            self.stopped_since = None;
            return;
        }
        let since = *self.stopped_since.get_or_insert(now);
        if now - since >= LONGEST_STOP {
            tracing::warn!(target: "keepalived", "stopped for {:.1?}: it is ended and started again", now - since);
            process.kill();
        }
    }

    fn hasten(&mut self) {
        if let Some(process) = &mut self.process {
            process.hasten();
        }
    }

    fn tend_watchdog(&mut self) {
        let Some(process) = &self.process else { return };
        if let Err(error) = self.watchdog.tend(process.pid) {
            self.trouble(error);
        }
    }

    /// Passes it on, and says itself again whether it is ready.
    fn beat(&mut self) {
        if self.watchdog.beat(self.patience()) {
            self.tell_readiness();
        }
    }

    /// Writes everything and starts keepalived.
    fn launch(&mut self) -> Result<(), Error> {
        self.files.prepare()?;
        // Before keepalived can put any of them on an interface.
        self.given = Given::all(&self.checked.configuration.outlines);
        self.files.write_given(&self.given)?;
        self.files.write_services(&self.services)?;
        let servers = self.virtual_servers()?;
        self.give_virtual_servers(servers)?;
        self.files.write_readiness(self.readiness())?;
        self.status.find_sources();
        self.write_ranks()?;
        self.files.write_main(&self.checked.configuration.main)?;
        let process = Process::start(&self.checked.program, &self.files, &self.sender)?;
        (self.tell)(Event::Started { process: process.pid });
        self.status.process = Some(process.pid);
        self.process = Some(process);
        self.tend_watchdog();
        Ok(())
    }

    /// keepalived ended by itself: its addresses must not stay with a node that does not speak.
    async fn died(&mut self, how: String) {
        let Some(mut process) = self.process.take() else { return };
        let ran = process.started.elapsed();
        process.end_children().await;
        self.watchdog.stop();
        drop(process);
        self.drain();
        self.initialize(&format!("keepalived ended: {how}"));
        self.take_off();
        if self.leaving.is_some() {
            self.over = true;
            return;
        }
        let again_in = self.back_off.ended(ran);
        self.again_at = Some(Instant::now() + again_in);
        (self.tell)(Event::Died { how, again_in });
    }

    fn apply(&mut self, checked: Checked) -> Result<Applied, Error> {
        if self.over {
            return Err(Error::ended());
        }
        if checked.settings.run_dir != self.checked.settings.run_dir {
            return Err(Error::OtherRunDir);
        }
        let before = &self.checked.configuration;
        let applied = Applied::between(&before.outlines, &checked.configuration.outlines);
        let same = before.main == checked.configuration.main;
        // Those of before are on their interfaces until keepalived has read the new text.
        let mut all = Given::all(&checked.configuration.outlines);
        all.extend(
            self.given.iter().filter(|given| !all.contains(given)).cloned().collect::<Vec<_>>(),
        );
        self.files.write_given(&all)?;
        let servers = checked.configuration.virtual_servers(
            &checked.settings,
            &self.real_servers,
            |address| self.status.has(address),
        )?;
        let same_servers = servers == self.virtual_servers;
        // The main file is last: when one before it fails, keepalived has not been told.
        self.give_virtual_servers(servers)?;
        self.files.write_main(&checked.configuration.main)?;
        self.given = all;
        self.checked = checked;
        self.status.follow(&self.checked.configuration.outlines);
        self.status.find_sources();
        self.tell_ranks();
        self.describe();
        match &self.process {
            Some(process) if !(same && same_servers) => process.reload(),
            Some(_) => {}
            // What was wrong may be right now.
            None => self.again_at = Some(Instant::now()),
        }
        Ok(applied)
    }

    /// keepalived goes on serving, with the least priority.
    fn hand_over(&mut self, patience: Duration) {
        if !self.status.holds() {
            self.over = true;
            return;
        }
        self.leaving = Some(Instant::now() + patience);
        self.tell_readiness();
    }

    /// Takes off what keepalived did not, or could not.
    fn take_off(&mut self) {
        let addresses = remove_addresses(&self.given);
        let services = remove_services(&self.services);
        if services.is_ok() {
            self.services.clear();
        }
        for removed in [addresses, services] {
            match removed {
                Ok(removed) => {
                    removed.into_iter().for_each(|what| (self.tell)(Event::Removed { what }));
                }
                Err(error) => self.trouble(error),
            }
        }
    }

    async fn finish(&mut self) -> Result<(), Error> {
        if let Some(mut process) = self.process.take() {
            process.end().await;
        }
        self.watchdog.stop();
        self.drain();
        self.initialize("stopped");
        self.take_off();
        self.trials.end().await;
        self.clean_up()
    }

    fn clean_up(&mut self) -> Result<(), Error> {
        self.files.remove_all()
    }

    /// What keepalived told before it ended.
    fn drain(&mut self) {
        while let Ok(input) = self.inputs.try_recv() {
            self.handle(input);
        }
        self.status.process = self.process.as_ref().map(|process| process.pid);
    }

    fn trouble(&self, error: Error) {
        (self.tell)(Event::Trouble { error });
    }

    fn publish(&mut self) {
        self.describe();
        self.published.store(Arc::new(self.status.clone()));
    }
}
