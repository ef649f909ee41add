//! Yields for a daemon that is frozen. keepalived lives on while its supervisor hangs, and would keep
//! the addresses of a node that serves nobody.
//!
//! A process of its own, beside keepalived, that hears a heartbeat and says so if there is none: it
//! turns "ready" in the readiness file into "not ready". That moves the addresses to a node that is
//! ready, and moves nothing if there is none. As soon as the daemon goes on it writes its own word
//! again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kernel::process::die_with_parent;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use crate::Error;
use crate::back_off::BackOff;
use crate::files::Files;

/// Three heartbeats.
const SILENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 500_000_000 };

/// The life of the watchdog: until the daemon at the other end of the socket is gone.
///
/// A daemon that sent nothing for 1.5 s is overruled, and told so with a byte for when it goes on.
pub fn watch(daemon: impl AsFd, run_dir: &Path) -> Result<(), Error> {
    let files = Files::new(run_dir);
    let failed = |errno: Errno| Error::Watchdog(errno.into());
    let mut beats = [0; 64];
    loop {
        let mut waited = [PollFd::new(&daemon, PollFlags::IN)];
        match poll(&mut waited, Some(&SILENCE)) {
            Ok(0) => {
                if files.overrule_readiness()? {
                    // One that has heard of it already needs no second byte.
                    let _ = send(&daemon, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                }
            }
            Ok(_) => {
                let (_, length) = recv(&daemon, &mut beats, RecvFlags::empty()).map_err(failed)?;
                if length == 0 {
                    return Ok(());
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The supervisor's end of it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    program: PathBuf,
    run_dir: PathBuf,
    process: Option<Process>,
    back_off: BackOff,
    again_at: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: OwnedFd,
    started: Instant,
}

impl Watchdog {
    pub(crate) fn new(program: &Path, run_dir: &Path) -> Self {
        Self {
            program: program.to_owned(),
            run_dir: run_dir.to_owned(),
            process: None,
            back_off: BackOff::default(),
            again_at: None,
        }
    }

    /// Starts it where it does not run, in keepalived's process group; an error is worth telling,
    /// and it is tried again.
    pub(crate) fn tend(&mut self, group: u32) -> Result<(), Error> {
        if let Some(process) = &mut self.process {
            let Ok(Some(status)) = process.child.try_wait() else { return Ok(()) };
            let again_in = self.back_off.ended(process.started.elapsed());
            self.again_at = Some(Instant::now() + again_in);
            self.process = None;
            tracing::warn!(target: "keepalived", "the watchdog ended ({status}); it is started again in {again_in:?}");
        }
        if self.again_at.is_some_and(|again_at| Instant::now() < again_at) {
            return Ok(());
        }
        match Process::start(&self.program, &self.run_dir, group) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                self.again_at = Some(Instant::now() + self.back_off.ended(Duration::ZERO));
                return Err(Error::Watchdog(error));
            }
        }
        Ok(())
    }

    /// All is well.
    pub(crate) fn beat(&self) {
        if let Some(process) = &self.process {
            // One that does not read is dead, or has beats enough to read when it goes on.
            let _ = send(&process.socket, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Whether it has overruled us since it was asked last.
    pub(crate) fn has_overruled(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let mut told = [0; 64];
        recv(&process.socket, &mut told, RecvFlags::DONTWAIT).is_ok_and(|(_, length)| length > 0)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
        self.again_at = None;
    }
}

impl Process {
    fn start(program: &Path, run_dir: &Path, group: u32) -> io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let mut command = Command::new(program);
        command
            .arg0("cplb")
            .arg("keepalived-watchdog")
            .arg(run_dir)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .process_group(group.cast_signed());
        die_with_parent(&mut command);
        Ok(Self { child: command.spawn()?, socket, started: Instant::now() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
