//! Between two processes of one machine, the virtual routers change hands like the baton of a relay
//! race: there is one, and who has it speaks.
//!
//! The baton is one message in a pair of sockets, which is read once or not at all. The predecessor
//! keeps a hold on both ends: it can take the baton back as long as it has not been taken, however
//! late the successor comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};
use rustix::process::{Signal, pidfd_send_signal};
use thiserror::Error;

/// The way of the baton, as the predecessor has it.
#[derive(Debug)]
pub struct Relay {
    ours: OwnedFd,
    theirs: OwnedFd,
}

/// Why the predecessor still has the baton.
#[derive(Debug, Error)]
pub(crate) enum NotTaken {
    #[error("the virtual routers could not be described to the new process: {0}")]
    Unsent(io::Error),
    #[error("the new process did not take over within {0:.1?}")]
    Late(Duration),
    #[error("the new process ended as it took over")]
    Ended,
    #[error("the new process hung as it took over and was killed")]
    Hung,
}

/// Beyond what many virtual routers that have heard hundreds of others take.
const LONGEST: usize = 1 << 20;

/// What the successor answers.
const TAKEN: &[u8] = b"taken";

/// How long a successor may hold the baton without saying so, and how long its end may take.
const SILENCE: Duration = Duration::from_secs(1);

impl Relay {
    /// A pair of sockets.
    pub fn new() -> io::Result<Self> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, LONGEST)?;
        Ok(Self { ours, theirs })
    }

    /// The end for the successor, which takes it to [`crate::Vip::succeed`].
    pub fn end_of_successor(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// Holds the baton out to `process` (a pidfd) for so long. Afterwards either it has taken the
    /// baton, or nobody but the caller ever will. Waits a second or two longer only for a process
    /// that took the baton and hangs.
    pub(crate) fn hold_out(
        &self,
        baton: &[u8],
        process: BorrowedFd<'_>,
        patience: Duration,
    ) -> Result<(), NotTaken> {
        let sent = send(&self.ours, baton, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        sent.map_err(|errno| NotTaken::Unsent(errno.into()))?;
        if let Some(outcome) = self.wait(process, patience) {
            return outcome;
        }
        if recv(&self.theirs, &mut vec![0; LONGEST], RecvFlags::DONTWAIT).is_ok() {
            return Err(NotTaken::Late(patience));
        }
        // It was quicker. Two must not have the baton, so this one waits for word, or for its end.
        if let Some(outcome) = self.wait(process, SILENCE) {
            return outcome;
        }
        // It may have ended this very moment.
        let _ = pidfd_send_signal(process, Signal::KILL);
        // One that the kernel cannot end yet does nothing more in any case.
        self.wait(process, SILENCE).unwrap_or(Err(NotTaken::Hung)).map_err(|_| NotTaken::Hung)
    }

    /// Until the baton is taken or the process has ended; `None` if neither comes in time.
    fn wait(&self, process: BorrowedFd<'_>, patience: Duration) -> Option<Result<(), NotTaken>> {
        let end = Instant::now() + patience;
        loop {
            let mut awaited =
                [self.ours.as_fd(), process].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let left = end.saturating_duration_since(Instant::now());
            let ready = match poll(&mut awaited, Some(&timespec(left))) {
                Err(Errno::INTR) => continue,
                ready => ready.unwrap_or(0),
            };
            // A process that has ended does not speak, whatever it said before.
            if !awaited[1].revents().is_empty() {
                return Some(Err(NotTaken::Ended));
            }
            if recv(&self.ours, &mut [0; TAKEN.len()], RecvFlags::DONTWAIT).is_ok() {
                return Some(Ok(()));
            }
            if ready == 0 {
                return None;
            }
        }
    }
}

/// Takes the baton, if it is held out: then [`say_taken`] has to follow. An empty one says that the
/// predecessor is gone and none will come.
pub(crate) fn take(end: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(LONGEST, 0);
    match recv(end, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
        Ok((length, _)) => {
            buffer.truncate(length);
            Ok(true)
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

pub(crate) fn say_taken(end: BorrowedFd<'_>) {
    // A predecessor that has been killed meanwhile needs no answer.
    let _ = send(end, TAKEN, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests;
