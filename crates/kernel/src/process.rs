//! What a process asks for itself: to run in time, to stay in memory, to end with its parent.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    Pid, Resource, Signal, getpid, getppid, getrlimit, set_parent_process_death_signal,
};
use rustix::thread::{CapabilitySet, capabilities};
use rustix::time::{ClockId, clock_gettime};

use crate::Error;
use crate::error::last_errno;

/// Lets the calling thread run before every ordinary one (SCHED_RR), at a priority of 1 to 99.
///
/// Threads and processes that it starts later are ordinary again (SCHED_RESET_ON_FORK).
/// [`Error::NotPermitted`] without CAP_SYS_NICE or a sufficient RLIMIT_RTPRIO, and in a control
/// group without real-time budget (`cpu.rt_runtime_us`).
pub fn realtime(priority: u8) -> Result<(), Error> {
    schedule_realtime(CALLING_THREAD, priority)
}

/// The same for the first thread of another process, whose later children are ordinary again.
pub fn realtime_for(process: Pid, priority: u8) -> Result<(), Error> {
    schedule_realtime(process.as_raw_nonzero().get(), priority)
}

/// sched_setscheduler(2).
const CALLING_THREAD: i32 = 0;

#[allow(unsafe_code)]
fn schedule_realtime(thread: i32, priority: u8) -> Result<(), Error> {
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // The C library's function is no use: musl's always fails, as POSIX means whole processes.
    // SAFETY: a thread is named by its number; the pointer is to a live struct sched_param.
    let result = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, thread, policy, &raw const parameters)
    };
    if result == 0 {
        return Ok(());
    }
    let purpose = format!("run in real time at priority {priority}");
    Err(Error::privileged("CAP_SYS_NICE", purpose, last_errno()))
}

/// Keeps the memory of this process from being swapped out, program text included.
///
/// What is mapped now is loaded and locked at once. What is mapped later is locked as it is first
/// used, but only where RLIMIT_MEMLOCK cannot make such a mapping fail.
pub fn lock_memory() -> Result<(), Error> {
    let failed =
        |errno| Error::privileged("CAP_IPC_LOCK", "lock the memory of this process", errno);
    mlockall(MlockAllFlags::CURRENT).map_err(failed)?;
    if memory_lock_is_unlimited() {
        mlockall(MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).map_err(failed)?;
    }
    Ok(())
}

/// Has the program killed when the calling *thread* ends (PR_SET_PDEATHSIG).
///
/// Spawn it from a thread that lasts as long as the child shall. A set-user-ID program escapes.
pub fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || bind_to_parent(parent));
    }
}

/// The time since the machine started, suspended or not; no clock setting moves it.
pub fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Whether somebody keeps the wall clock in step with others (adjtimex(2), STA_UNSYNC): an NTP or
/// PTP daemon, or the host of a virtual machine through one.
pub fn clock_is_synchronised() -> Result<bool, Error> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the pointer is to a live struct timex; its `modes` are zero, so it is only filled.
    #[allow(unsafe_code)]
    let result = unsafe { libc::adjtimex(state.as_mut_ptr()) };
    if result == -1 {
        return Err(Error::privileged(
            "CAP_SYS_TIME",
            "ask for the state of the clock",
            last_errno(),
        ));
    }
    // SAFETY: a plain C struct of numbers, zeroed and then filled.
    #[allow(unsafe_code)]
    let state = unsafe { state.assume_init() };
    Ok(state.status & libc::STA_UNSYNC == 0)
}

/// In the child: ends with the parent, also if that has ended already.
fn bind_to_parent(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        return Err(Errno::SRCH.into());
    }
    Ok(())
}

/// Whether no limit applies (mlock(2)): none is set, or CAP_IPC_LOCK is held where it counts,
/// which is in the first user namespace alone.
fn memory_lock_is_unlimited() -> bool {
    if getrlimit(Resource::Memlock).current.is_none() {
        return true;
    }
    let capable =
        capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::IPC_LOCK));
    capable && in_first_user_namespace()
}

/// Only the first user namespace maps every user to itself (user_namespaces(7)).
fn in_first_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests;
