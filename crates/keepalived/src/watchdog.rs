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

/// A daemon that hangs for less costs nothing: the addresses move this long after the last
/// heartbeat at the earliest.
const TOLERANCE: Duration = Duration::from_millis(1_500);

/// Three heartbeats ([`crate::Heart::EACH`]).
const SHORTEST: Duration = Duration::from_millis(400);

/// In which heartbeats tell the patience.
const UNIT: Duration = Duration::from_millis(10);

/// How long a silence makes the watchdog speak, at this interval between advertisements.
///
/// Its word moves nothing by itself: the heirs wait until they have not heard the full priority for
/// three intervals, of which two at least are still to come. A daemon that goes on meanwhile says
/// that it is ready, and nothing has happened.
pub(crate) fn patience(advert_interval: Duration) -> Duration {
    TOLERANCE.saturating_sub(2 * advert_interval).max(SHORTEST)
}

/// The life of the watchdog: until the daemon at the other end of the socket is gone.
///
/// A heartbeat is a byte, which tells for how long none may follow. A daemon that is silent for
/// longer is overruled, and told so with a byte for when it goes on.
pub fn watch(daemon: impl AsFd, run_dir: &Path) -> Result<(), Error> {
    let files = Files::new(run_dir);
    let failed = |errno: Errno| Error::Watchdog(errno.into());
    let mut beats = [0; 64];
    let mut patience = TOLERANCE;
    loop {
        let mut waited = [PollFd::new(&daemon, PollFlags::IN)];
        let silence = Timespec {
            tv_sec: patience.as_secs().cast_signed(),
            tv_nsec: patience.subsec_nanos().into(),
        };
        match poll(&mut waited, Some(&silence)) {
            Ok(0) => {
                if files.overrule_readiness()? {
                    // One that has heard of it already needs no second byte.
                    let _ = send(&daemon, &[0], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
                }
            }
            Ok(_) => match recv(&daemon, &mut beats, RecvFlags::empty()) {
                // Reset, if it has not read what it was told.
                Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(()),
                Ok((_, length)) => patience = UNIT * u32::from(beats[length - 1]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            },
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The supervisor's end of it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Where absent nothing watches.
    program: Option<PathBuf>,
    run_dir: PathBuf,
    process: Option<Process>,
    back_off: BackOff,
    again_at: Option<Instant>,
    overrules: bool,
}

#[derive(Debug)]
struct Process {
    child: Child,
    socket: OwnedFd,
    started: Instant,
}

impl Watchdog {
    pub(crate) fn new(program: Option<&Path>, run_dir: &Path) -> Self {
        Self {
            program: program.map(Path::to_owned),
            run_dir: run_dir.to_owned(),
            process: None,
            back_off: BackOff::default(),
            again_at: None,
            overrules: false,
        }
    }

    /// Starts it where it does not run, in keepalived's process group, and hears what it has to say.
    /// After an error it is tried again.
    pub(crate) fn tend(&mut self, group: u32) -> Result<(), Error> {
        self.hear();
        if let Some(process) = &mut self.process {
            let Ok(Some(status)) = process.child.try_wait() else { return Ok(()) };
            let again_in = self.back_off.ended(process.started.elapsed());
            self.again_at = Some(Instant::now() + again_in);
            self.process = None;
            tracing::warn!(target: "keepalived", "the watchdog ended ({status}); it is started again in {again_in:?}");
        }
        let Some(program) = &self.program else { return Ok(()) };
        if self.again_at.is_some_and(|again_at| Instant::now() < again_at) {
            return Ok(());
        }
        match Process::start(program, &self.run_dir, group) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                self.again_at = Some(Instant::now() + self.back_off.ended(Duration::ZERO));
                return Err(Error::Watchdog(error));
            }
        }
        Ok(())
    }

    /// All is well, and will be for so long. Whether it had overruled us until now.
    pub(crate) fn beat(&mut self, patience: Duration) -> bool {
        if let Some(process) = &self.process {
            let units = patience.as_millis() / UNIT.as_millis();
            let beat = [u8::try_from(units).unwrap_or(u8::MAX)];
            // One that does not read is dead, or has beats enough to read when it goes on.
            let _ = send(&process.socket, &beat, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
        self.hear();
        if self.overrules {
            tracing::info!(target: "keepalived", "cplb goes on and says itself whether it is ready");
        }
        std::mem::take(&mut self.overrules)
    }

    /// Whether this node counts as not ready, since we were silent.
    pub(crate) fn overrules(&self) -> bool {
        self.overrules
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
        self.again_at = None;
        self.overrules = false;
    }

    fn hear(&mut self) {
        let Some(process) = &self.process else { return };
        let told = recv(&process.socket, &mut [0; 64], RecvFlags::DONTWAIT);
        if told.is_ok_and(|(_, length)| length > 0) && !self.overrules {
            self.overrules = true;
            tracing::error!(
                target: "keepalived",
                "cplb was silent, frozen or with threads that hang: its watchdog told keepalived that this node is not ready"
            );
        }
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
