//! A process that does nothing but outlive this one, to remove its services.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{Change, Error, Ipvs};
use crate::netlink::{Message, Protocol, Socket};

/// Removes services once this process is dead, or was silent for too long: the kernel gives them
/// neither an owner nor a lifetime.
///
/// It is a process of its own, `cplb-last-will`, which holds no file, socket or terminal of ours
/// and ignores the signals that ask for an end. Dropping this ends it, and it acts a last time.
#[derive(Debug)]
pub struct LastWill {
    executor: Pid,
    /// Its end is what the other process waits for.
    ours: Option<OwnedFd>,
}

/// The messages that are to be sent in the end; one takes 68 bytes.
const LARGEST: usize = 16 * 1024;

/// In ps(1), at most 15 bytes.
const NAME: &CStr = c"cplb-last-will";

impl LastWill {
    /// Starts the process in the network namespace of the calling thread. It has nothing to do
    /// before the first [`LastWill::renew`]; from then on it acts whenever there is no further one
    /// for the time of `patience`.
    pub fn start(patience: Duration) -> Result<Self, Error> {
        let failed = |error: io::Error| crate::Error::system("start a process", error);
        let (ours, theirs) =
            net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| failed(errno.into()))?;
        let netlink = Socket::open(Protocol::Generic)?;
        let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        let (from, to) = (theirs.as_raw_fd(), netlink.as_fd().as_raw_fd());
        // SAFETY: the child of a process with several threads may only do what a signal handler
        // may. `execute` makes system calls, touches its own stack and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(failed(io::Error::last_os_error()).into()),
            0 => execute(from, to, patience),
            pid => match Pid::from_raw(pid) {
                Some(executor) => Ok(Self { executor, ours: Some(ours) }),
                None => Err(failed(io::Error::other("fork returned no process")).into()),
            },
        }
    }

    /// Says that this process is alive, and which services to remove when it is no more. Never
    /// waits.
    pub fn renew(&self, ipvs: &Ipvs, services: &[SocketAddr]) -> Result<(), Error> {
        let Some(ours) = &self.ours else { return Ok(()) };
        let mut will = Vec::new();
        for service in services {
            // Nobody reads an acknowledgement.
            let removal = ipvs.family.change(&Change::RemoveService(*service));
            Message { flags: 0, ..removal }.write(0, 0, &mut will);
        }
        if will.is_empty() || will.len() > LARGEST {
            let detail = io::Error::other(format!("{} bytes are too many or too few", will.len()));
            return Err(crate::Error::system("leave a last will", detail).into());
        }
        match net::send(ours, &will, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // It has not come to read the earlier ones, which say the same.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(crate::Error::system("leave a last will", errno).into()),
        }
    }
}

impl Drop for LastWill {
    fn drop(&mut self) {
        self.ours = None;
        // Whatever became of it, it is no more.
        let _ = waitpid(Some(self.executor), WaitOptions::empty());
    }
}

/// The other process: takes in what comes by `from`, and sends it by `to` when nothing more comes.
fn execute(from: RawFd, to: RawFd, patience: libc::c_int) -> ! {
    let mut will = [0_u8; LARGEST];
    let mut length = 0;
    leave_everything_behind(from, to);
    loop {
        let mut awaited = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
        let limit = if length == 0 { -1 } else { patience };
        // SAFETY: one structure, which lives on this stack.
        match unsafe { libc::poll(&raw mut awaited, 1, limit) } {
            // EINTR: poll(2) begins anew.
            -1 => continue,
            0 => {
                send(to, &will[..length]);
                length = 0;
                continue;
            }
            _ => {}
        }
        // SAFETY: the buffer is as long as said.
        let received = unsafe { libc::recv(from, will.as_mut_ptr().cast(), will.len(), 0) };
        match usize::try_from(received) {
            Ok(received @ 1..) => length = received,
            // The end of the connection: the process is no more.
            Ok(0) | Err(_) => {
                send(to, &will[..length]);
                // SAFETY: ends this process at once, without the handlers that it shares.
                unsafe { libc::_exit(0) }
            }
        }
    }
}

fn send(to: RawFd, will: &[u8]) {
    if !will.is_empty() {
        // SAFETY: the buffer is as long as said. The kernel is where an unconnected netlink socket
        // sends to (netlink(7)).
        unsafe { libc::send(to, will.as_ptr().cast(), will.len(), 0) };
    }
}

/// Closes every descriptor but two, since a socket lives as long as its last one; leaves session
/// and directory; ignores what a shell or a service manager sends to all of our processes.
fn leave_everything_behind(from: RawFd, to: RawFd) {
    let (low, high) = (from.min(to).cast_unsigned(), from.max(to).cast_unsigned());
    for (first, end) in [(0, low), (low + 1, high), (high + 1, u32::MAX)] {
        if first < end {
            close_all(first, end - 1);
        }
    }
    // SAFETY: none of these calls takes memory other than a C string literal.
    unsafe {
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, NAME.as_ptr());
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1] {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

fn close_all(first: u32, last: u32) {
    // SAFETY: no memory is involved; the descriptors are copies of the other process'.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Linux before 5.9: one by one, as far as systems let a process go.
    for descriptor in first..=last.min(1 << 16) {
        // SAFETY: as above.
        unsafe { libc::close(descriptor.cast_signed()) };
    }
}
