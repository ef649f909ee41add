//! The process that goes on in place of this one, as this one sees it.

use std::env;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kernel::redirect;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use vip::Relay;

use super::{FORM, Legacy, PREDECESSOR, RedirectBy, Request, Word, line};
use crate::balancer;
use crate::error::Error;

/// A process that is about to go on in place of this one, or does. Dropped before, it is killed.
pub(crate) struct Successor {
    child: Child,
    pid: u32,
    /// A pidfd.
    process: OwnedFd,
    line: UnixDatagram,
    relay: Option<Relay>,
    request: Option<Request>,
    version: String,
    begun: Instant,
    /// Until it is ready, and once it is silent.
    deadline: Option<tokio::time::Instant>,
    /// It has closed the line.
    is_silent: bool,
    within: Duration,
    in_charge: bool,
}

/// What it needs.
pub(crate) struct Bequest {
    pub(crate) lock: OwnedFd,
    pub(crate) admin: Vec<OwnedFd>,
    pub(crate) balancer: balancer::Legacy,
    pub(crate) ready: bool,
    pub(crate) routers: Vec<vip::Identity>,
}

/// What it says or does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It could go on at once.
    Ready,
    /// It will not go on: why.
    Failed(String),
    /// It accepts clients.
    Serving,
    /// These virtual addresses have left the node.
    Released(Vec<IpAddr>),
    /// It has ended after all: how.
    Ended(String),
}

impl Successor {
    /// Starts the program that is on disk, with the arguments of this one.
    pub(crate) fn start(bequest: &Bequest, request: &Request) -> Result<Self, Error> {
        let (ours, theirs) = line::pair()?;
        let relay = Relay::new()?;
        bequest.leave_by(&ours, &relay)?;
        let program = program(env::args_os().next().map(PathBuf::from), env::current_exe()?);
        let mut child = Command::new(&program)
            .args(env::args_os().skip(1))
            .env(PREDECESSOR, std::process::id().to_string())
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(|error| {
                Error::NotUpgraded(format!("cannot start {}: {error}", program.display()))
            })?;
        let within = Duration::from_secs(request.within.into());
        let (pid, process, line) = watched(&child, ours).inspect_err(|_| end(&mut child))?;
        Ok(Self {
            child,
            pid,
            process,
            line,
            relay: Some(relay),
            request: None,
            version: String::new(),
            begun: Instant::now(),
            deadline: Some(tokio::time::Instant::now() + within),
            is_silent: false,
            within,
            in_charge: false,
        })
    }

    /// Whom to tell how it went.
    pub(crate) fn for_request(mut self, request: Request) -> Self {
        self.request = Some(request);
        self
    }
}

impl Successor {
    /// What it says or does next. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> Heard {
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let word = async {
            match self.is_silent {
                false => hear(&self.line).await,
                true => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            word = word => match word {
                Ok(Some(Word::Ready { version })) => {
                    self.version = version;
                    self.deadline = None;
                    Heard::Ready
                }
                Ok(Some(Word::Failed { reason })) => Heard::Failed(reason),
                Ok(Some(Word::Serving)) => Heard::Serving,
                Ok(Some(Word::Released { addresses })) => Heard::Released(addresses),
                Ok(None) => {
                    self.is_silent = true;
                    self.deadline = Some(tokio::time::Instant::now() + END_WITHIN);
                    Box::pin(self.next()).await
                }
                Err(error) => Heard::Failed(format!("it cannot be understood: {error}")),
            },
            status = self.child.wait() => ended(status),
            () = late => Heard::Failed(match self.is_silent {
                true => "the new process does not speak to this one".to_owned(),
                false => format!("the new process was not ready within {:?}", self.within),
            }),
        }
    }

    /// The baton's way and the process; once.
    pub(crate) fn take_baton(&mut self) -> io::Result<Option<(Relay, OwnedFd)>> {
        let process = self.process.try_clone()?;
        Ok(self.relay.take().map(|relay| (relay, process)))
    }

    /// It has the baton.
    pub(crate) fn is_in_charge(&mut self, pause: Duration) {
        self.in_charge = true;
        let done = format!(
            "process {} ({}) goes on in place of process {} ({}), ready after {:.1?}; nobody spoke VRRP for {pause:.1?}",
            self.pid(),
            self.version,
            std::process::id(),
            env!("CARGO_PKG_VERSION"),
            self.begun.elapsed(),
        );
        if let Some(request) = self.request.take() {
            request.answer(Ok(done));
        }
    }

    /// This process goes on.
    pub(crate) fn give_up(mut self, reason: String) {
        if let Some(request) = self.request.take() {
            request.answer(Err(reason));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it hand the virtual IPs over and end.
    pub(crate) fn stop(&self) {
        // It may have ended.
        let _ = pidfd_send_signal(&self.process, Signal::TERM);
    }
}

fn ended(status: io::Result<ExitStatus>) -> Heard {
    Heard::Ended(match status {
        Ok(status) => format!("the new process ended ({status}), its log says why"),
        Err(error) => format!("the new process ended: {error}"),
    })
}

/// Its number and its pidfd, and the line to it for the current tokio runtime.
fn watched(child: &Child, line: OwnedFd) -> io::Result<(u32, OwnedFd, UnixDatagram)> {
    let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
    let number = Pid::from_raw(pid.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(number, PidfdFlags::empty())?;
    // Its packets come in order and its end shows, unlike those of a datagram socket; for waiting
    // all are the same.
    let line = StdUnixDatagram::from(line);
    line.set_nonblocking(true)?;
    Ok((pid, process, UnixDatagram::from_std(line)?))
}

/// A process that has closed its line is about to end.
const END_WITHIN: Duration = Duration::from_secs(1);

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.in_charge {
            end(&mut self.child);
        }
    }
}

impl Bequest {
    /// Says it all on the line, where it waits for the successor.
    fn leave_by(&self, line: &OwnedFd, relay: &Relay) -> Result<(), Error> {
        let (redirect, socket) = match &self.balancer.redirect {
            None => (None, None),
            Some(redirect::Bequest::Iptables) => (Some(RedirectBy::Iptables), None),
            Some(redirect::Bequest::Nftables { socket, owned }) => {
                (Some(RedirectBy::Nftables { owned: *owned }), Some(socket))
            }
        };
        let legacy = Legacy {
            form: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.ready,
            routers: self.routers.clone(),
            redirect,
            admin: self.admin.len(),
        };
        // The kernel closes a dead process's descriptors last opened first: see `proxying`.
        let descriptors: Vec<_> = [relay.end_of_successor(), self.lock.as_fd()]
            .into_iter()
            .chain(self.admin.iter().map(AsFd::as_fd))
            .chain(socket.map(AsFd::as_fd))
            .chain(self.balancer.listeners.iter().map(AsFd::as_fd))
            .collect();
        line::say(line, &legacy, &descriptors)
            .map_err(|error| Error::NotUpgraded(format!("cannot describe this process: {error}")))
    }
}

async fn hear(line: &UnixDatagram) -> io::Result<Option<Word>> {
    let heard = line
        .async_io(Interest::READABLE, || match line::hear(line, RecvFlags::DONTWAIT) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNRESET) => Ok(None),
            heard => heard,
        })
        .await?;
    Ok(heard.map(|(word, _)| word))
}

/// The program as it was started, which may be a link that leads to another version by now; else the
/// file that this process runs, or what has taken its place.
fn program(started_as: Option<PathBuf>, running: PathBuf) -> PathBuf {
    let is_path = |it: &PathBuf| it.components().count() > 1 && it.is_file();
    started_as.filter(is_path).unwrap_or_else(|| {
        // What proc(5) says of a file that was replaced.
        let path = running.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
        path.map_or_else(|| running.clone(), |path| Path::new(path).to_owned())
    })
}

fn end(child: &mut Child) {
    // It may have ended already. The runtime takes note of its end.
    let _ = child.start_kill();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_one_that_is_on_disk_now() {
        let shell = PathBuf::from("/bin/sh");
        let running = PathBuf::from("/usr/local/bin/cplb (deleted)");
        assert_eq!(program(Some(shell.clone()), running.clone()), shell);
        for started_as in [None, Some("cplb"), Some("/no/such/cplb")] {
            let started_as = started_as.map(PathBuf::from);
            assert_eq!(program(started_as, running.clone()), Path::new("/usr/local/bin/cplb"));
        }
        assert_eq!(program(None, shell.clone()), shell);
    }
}
