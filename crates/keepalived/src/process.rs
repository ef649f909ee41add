//! One run of keepalived.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kernel::process::{die_with_parent, realtime_for};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::check::Program;
use crate::family::Family;
use crate::files::Files;
use crate::supervisor::Input;

/// keepalived, its children, and the tasks that read what they tell.
///
/// It ends with the thread that started it: the kernel kills keepalived (PR_SET_PDEATHSIG), and
/// keepalived's children are told by the same means to end, which they do in good order.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) started: Instant,
    child: tokio::process::Child,
    handle: OwnedFd,
    readers: Vec<JoinHandle<()>>,
    family: Family,
    /// Where its speaker of VRRP writes its number.
    speaker_file: PathBuf,
    /// The speaker that was asked to run in real time.
    hastened: Option<Pid>,
}

/// Behind the network card's interrupts (50), before everything ordinary.
const PRIORITY: u8 = 40;

/// To end in good order. keepalived 2.2.7 takes a second.
const IN_GOOD_ORDER: Duration = Duration::from_secs(5);
/// For its children after it ended itself.
const CHILDREN: Duration = Duration::from_secs(2);

/// A notice waits for the log lines that were written before it: they tell the reason.
const LOG_FIRST: Duration = Duration::from_millis(5);

impl Process {
    /// Starts it; what it tells goes to `inputs`.
    pub(crate) fn start(
        program: &Program,
        files: &Files,
        inputs: &UnboundedSender<Input>,
    ) -> Result<Self, Error> {
        let fifo = files.fifo();
        let notices = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&fifo)
            .map_err(Error::file(fifo))?;
        let started = |source| Error::Program { program: program.path.clone(), source };
        let (log, theirs) = pipe().map_err(started)?;
        let command = command(program, files, theirs).map_err(started)?;
        let child = tokio::process::Command::from(command).spawn().map_err(started)?;
        let pid = child.id().unwrap_or_default();
        let handle = Pid::from_raw(pid.cast_signed())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from))
            .map_err(started)?;
        let readers = vec![
            tokio::spawn(read(log, inputs.clone(), Input::Log, Duration::ZERO)),
            tokio::spawn(read(notices, inputs.clone(), Input::Notice, LOG_FIRST)),
        ];
        let [_, speaker_file, checker_file, bfd_file] = files.pids();
        let family = Family::new(pid, vec![speaker_file.clone(), checker_file, bfd_file]);
        let started = Instant::now();
        Ok(Self { pid, started, child, handle, readers, family, speaker_file, hastened: None })
    }

    /// Has its speaker of VRRP run before every ordinary process, or go on without where that is not
    /// permitted.
    ///
    /// `vrrp_rt_priority` would limit its processor time with it (RLIMIT_RTTIME). A reload leaves that
    /// limit at zero where CAP_SYS_RESOURCE is missing, so that the kernel kills it (keepalived 2.2.7
    /// to 2.4.3, lib/process.c: `orig_rlimit_rt` is never set).
    pub(crate) fn hasten(&mut self) {
        let lives = |speaker: Pid| self.family.had(speaker.as_raw_nonzero().get().unsigned_abs());
        if self.hastened.is_some_and(lives) {
            return;
        }
        let Some(speaker) = self.speaker() else { return };
        if self.hastened.replace(speaker) == Some(speaker) {
            return;
        }
        if let Err(error) = realtime_for(speaker, PRIORITY) {
            tracing::debug!(target: "keepalived", "it runs as an ordinary process: {error}");
        }
    }

    /// It starts a new one where that ends. Until then the file may name one of long ago.
    fn speaker(&self) -> Option<Pid> {
        let text = fs::read_to_string(&self.speaker_file).ok()?;
        let speaker: u32 = text.trim().parse().ok()?;
        let (group, _) = group_and_state(speaker)?;
        Pid::from_raw(speaker.cast_signed()).filter(|_| group == self.pid.cast_signed())
    }

    /// Waits for its end; may be called again and be dropped.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it in good order, or at last without.
    pub(crate) async fn end(&mut self) {
        self.signal(Signal::TERM);
        // One that is stopped (SIGSTOP) would hear only then.
        self.signal(Signal::CONT);
        if timeout(IN_GOOD_ORDER, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.end_children().await;
    }

    /// Its children outlive it for a moment: a new keepalived must not meet them.
    pub(crate) async fn end_children(&mut self) {
        let Some(group) = Pid::from_raw(self.pid.cast_signed()) else { return };
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + CHILDREN;
            while has_members(group) && Instant::now() < deadline {
                // The first one is in vain where the group has just ended.
                let _ = kill_process_group(group, signal);
                let _ = kill_process_group(group, Signal::CONT);
                sleep(Duration::from_millis(10)).await;
            }
        }
        // What they wrote last.
        sleep(2 * LOG_FIRST).await;
    }

    /// Whether it or one of its children is stopped (SIGSTOP): it holds its addresses and says
    /// nothing, so that another node takes them too.
    pub(crate) fn is_stopped(&mut self) -> bool {
        self.family.has_stopped()
    }

    /// Ends it at once, should it be in no state to do so.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // One that has just ended needs no signals.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        for reader in &self.readers {
            reader.abort();
        }
    }
}

/// Whether a process of the group lives; those that have ended may not have been waited for yet.
fn has_members(group: Pid) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let lives = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let (its_group, state) = group_and_state(pid)?;
        Some(its_group == group.as_raw_nonzero().get() && !matches!(state, 'Z' | 'X'))
    };
    entries.flatten().any(|entry| lives(entry) == Some(true))
}

/// proc_pid_stat(5).
fn group_and_state(pid: u32) -> Option<(i32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(1)?.parse().ok()?, state))
}

fn command(program: &Program, files: &Files, output: OwnedFd) -> io::Result<Command> {
    let [pid, vrrp, checkers, bfd] = files.pids();
    let errors = output.try_clone()?;
    let mut command = Command::new(&program.path);
    command
        .args(["--dont-fork", "--log-console", "--log-detail", "--no-syslog"])
        .arg("--use-file")
        .arg(files.main())
        .arg("--pid")
        .arg(pid)
        .arg("--vrrp_pid")
        .arg(vrrp)
        .arg("--checkers_pid")
        .arg(checkers)
        .arg("--bfd_pid")
        .arg(bfd)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        // The terminal's signals are for us, who pass them on in our way.
        .process_group(0);
    die_with_parent(&mut command);
    Ok(command)
}

fn pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((pipe::Receiver::from_owned_fd(ours)?, theirs))
}

/// Passes lines on until the other end is closed. Bytes that are no text become U+FFFD.
async fn read(
    source: impl AsyncRead + Unpin,
    inputs: UnboundedSender<Input>,
    input: fn(String) -> Input,
    delay: Duration,
) {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    while source.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        sleep(delay).await;
        let text = String::from_utf8_lossy(&line).into_owned();
        if inputs.send(input(text)).is_err() {
            return;
        }
        line.clear();
    }
}
