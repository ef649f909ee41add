//! Network namespaces that leave nothing behind, and what it takes to wire them together.

mod wiring;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::{Child, Command};
use std::thread;

use rustix::io::Errno;
use rustix::process::{getgid, getuid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

pub use self::wiring::{
    add_address, add_default_route, create_bridge, create_veth, delete_link,
    disable_duplicate_address_detection, set_down, set_master, set_up,
};
use crate::Error;
use crate::error::last_errno;
use crate::process;

/// A network namespace, kept by an open file descriptor alone: it has no name, and it ends with
/// the last descriptor, socket and process in it, even if this program is killed.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl Namespace {
    /// Makes a network namespace whose only interface is loopback, up.
    ///
    /// Needs CAP_SYS_ADMIN; without it, call [`isolate`] first.
    pub fn new() -> Result<Self, Error> {
        on_a_thread(|| {
            unshare(UnshareFlags::NEWNET).map_err(|errno| {
                Error::privileged("CAP_SYS_ADMIN", "make a network namespace", errno)
            })?;
            set_up("lo")?;
            Self::current()
        })?
    }

    /// The network namespace of the calling thread.
    pub fn current() -> Result<Self, Error> {
        let file = File::open("/proc/thread-self/ns/net")
            .map_err(|error| Error::system("open the current network namespace", error))?;
        Ok(Self { fd: file.into() })
    }

    /// Runs `work` inside, on a thread of its own, and waits for it. Its panic is passed on.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_a_thread(|| {
            self.enter()?;
            Ok(work())
        })?
    }

    /// Moves the calling thread inside, for good; threads that it starts begin there too.
    pub fn enter(&self) -> Result<(), Error> {
        move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::privileged("CAP_SYS_ADMIN", "enter a network namespace", errno))
    }

    /// Starts a program inside.
    ///
    /// It is killed when the calling *thread* ends (PR_SET_PDEATHSIG), so that nothing outlives
    /// us: spawn from a thread that lasts as long as the child shall.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        let fd = self.fd.try_clone()?;
        let enter = move || {
            move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(io::Error::from)
        };
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(enter);
        }
        process::die_with_parent(&mut command);
        command.spawn()
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Gives this process a network and a mount namespace of its own, loopback up, so that it can make
/// more namespaces and cannot disturb the host.
///
/// An ordinary user becomes root in a new user namespace for that, where the system allows it
/// ([`Error::NamespacesForbidden`] where not). Call it before any thread is started: a user
/// namespace cannot be entered by a process of several threads, and without one only the calling
/// thread would move.
pub fn isolate() -> Result<(), Error> {
    let spaces = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    match unshare(spaces) {
        Ok(()) => {}
        Err(Errno::PERM) => become_root_of_a_user_namespace(spaces)?,
        Err(errno) => return Err(Error::system("make a network and a mount namespace", errno)),
    }
    keep_mounts_private().map_err(|errno| Error::system("make the mounts private", errno))?;
    set_up("lo")
}

fn become_root_of_a_user_namespace(spaces: UnshareFlags) -> Result<(), Error> {
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let enter = || -> io::Result<()> {
        unshare(spaces | UnshareFlags::NEWUSER)?;
        // user_namespaces(7): without it an ordinary user may not write gid_map. Kernels before
        // 3.19 lack the file and the rule.
        match fs::write("/proc/self/setgroups", "deny") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))
    };
    enter().map_err(|source| Error::NamespacesForbidden { source })
}

/// Mounts made from here on do not reach the host, nor the host's us (mount_namespaces(7)).
#[allow(unsafe_code)]
fn keep_mounts_private() -> Result<(), Errno> {
    let (unused, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the target is a C string literal; mount(2) ignores the other pointers for a change
    // of propagation, and they may be null.
    match unsafe { libc::mount(unused, c"/".as_ptr(), unused, flags, unused.cast()) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[allow(unsafe_code)]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: only CLONE_FILES is dangerous (descriptors of other threads), and is not used here.
    unsafe { unshare_unsafe(flags) }
}

/// Runs `work` on a short-lived thread, whose change of namespace ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|error| Error::system("start a thread", error))?;
        thread.join().map_err(|panic| panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests;
