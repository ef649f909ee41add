//! A long-running process on a host: started, stopped, killed, frozen and thawed at will.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};

use super::Host;
use crate::Error;

/// How often a wait looks.
const GLANCE: Duration = Duration::from_millis(5);

/// A program and its arguments.
#[derive(Debug, Clone)]
pub struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
}

/// A process of a host; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    launch: Launch,
    namespace: Arc<Namespace>,
    log: PathBuf,
    child: Option<Child>,
    state: State,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not been started.
    Off,
    /// It runs.
    Running,
    /// It has been told to end and has not yet.
    Leaving,
    /// It is stopped by SIGSTOP.
    Frozen,
    /// It has ended.
    Ended {
        /// With this code, or by a signal.
        code: Option<i32>,
    },
}

impl State {
    /// Whether there is a process, be it frozen.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Leaving | Self::Frozen)
    }
}

impl Launch {
    /// A program without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), arguments: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds an option and its value, as two arguments.
    #[must_use]
    pub fn option(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.argument(name).argument(value)
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|one| one.as_ref().to_owned()));
        self
    }
}

impl Daemon {
    /// A process of `host` that does not run yet. Its output is appended to `log`.
    #[must_use]
    pub fn new(name: String, launch: Launch, host: &Host, log: PathBuf) -> Self {
        let namespace = Arc::clone(&host.namespace);
        Self { name, launch, namespace, log, child: None, state: State::Off }
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file its output goes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        // A test may have put a pipe there, which has no end.
        let is_file = self.log.metadata().is_ok_and(|found| found.is_file());
        let text = if is_file { fs::read(&self.log).unwrap_or_default() } else { Vec::new() };
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Another program in its place, from the next start on.
    pub fn replace(&mut self, launch: Launch) {
        self.launch = launch;
    }

    /// Starts it. It ends with the calling thread at the latest.
    ///
    /// # Errors
    /// [`Error::StillRunning`], or when the program cannot be executed.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.state().is_alive() {
            return Err(Error::StillRunning(self.name.clone()));
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|source| Error::file(&self.log, source))?;
        let errors = log.try_clone().map_err(|source| Error::file(&self.log, source))?;
        let mut command = Command::new(&self.launch.program);
        command.args(&self.launch.arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
        // Ctrl-C in the terminal is for the lab alone.
        command.process_group(0);
        let child = self.namespace.spawn(command).map_err(|source| Error::Start {
            name: self.name.clone(),
            program: self.launch.program.to_string_lossy().into_owned(),
            source,
        })?;
        self.child = Some(child);
        self.state = State::Running;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and does not wait. Nothing happens when it does not run.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.signal(Signal::TERM, State::Leaving)
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.signal(Signal::KILL, State::Leaving)
    }

    /// Lets it hang (SIGSTOP).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn freeze(&mut self) -> Result<(), Error> {
        self.signal(Signal::STOP, State::Frozen)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn thaw(&mut self) -> Result<(), Error> {
        self.signal(Signal::CONT, State::Running)
    }

    /// Sends any other signal, such as SIGHUP.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn send(&mut self, signal: Signal) -> Result<(), Error> {
        let state = self.state();
        self.signal(signal, state)
    }

    /// What it does now.
    pub fn state(&mut self) -> State {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.ended(status);
        }
        self.state
    }

    /// Waits until it has ended, at most `limit`; whether it has.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.state().is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
        true
    }

    fn signal(&mut self, signal: Signal, state: State) -> Result<(), Error> {
        if !self.state().is_alive() {
            return Ok(());
        }
        let Some(child) = &self.child else { return Ok(()) };
        // Not waited for yet, so the number is still its own.
        kill_process(Pid::from_child(child), signal)
            .map_err(|errno| Error::Signal { name: self.name.clone(), source: errno.into() })?;
        self.state = state;
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) {
        self.child = None;
        self.state = State::Ended { code: status.code() };
        tracing::debug!(name = self.name, code = status.code(), signal = status.signal(), "ended");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may have ended already.
        let _killed = child.kill();
        let _reaped = child.wait();
    }
}
