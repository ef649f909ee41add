use std::os::unix::process::ExitStatusExt;
use std::thread;

use rustix::process::{Rlimit, setrlimit};
use rustix::thread::set_capabilities;

use super::*;
use crate::test_cable::wait_for;

/// Real-time priority and scheduling policy of the calling thread: fields 40 and 41 of
/// `/proc/thread-self/stat` (proc_pid_stat(5)), counted from behind the name.
fn scheduling() -> (u32, u32) {
    scheduling_in(&fs::read_to_string("/proc/thread-self/stat").unwrap())
}

fn scheduling_in(stat: &str) -> (u32, u32) {
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    (fields[40 - 3].parse().unwrap(), fields[41 - 3].parse().unwrap())
}

const ORDINARY: (u32, u32) = (0, libc::SCHED_OTHER as u32);

#[test]
fn a_realtime_thread_starts_ordinary_ones() {
    thread::spawn(|| {
        assert_eq!(scheduling(), ORDINARY);
        realtime(7).unwrap();
        assert_eq!(scheduling(), (7, libc::SCHED_RR as u32));
        assert_eq!(thread::spawn(scheduling).join().unwrap(), ORDINARY);
    })
    .join()
    .unwrap();
}

#[test]
fn another_process_runs_in_real_time() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    realtime_for(Pid::from_child(&child), 7).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scheduling_in(&stat), (7, libc::SCHED_RR as u32));
    let gone = realtime_for(Pid::from_child(&child), 7).unwrap_err().to_string();
    assert!(gone.ends_with("No such process (os error 3)"), "{gone}");
}

#[test]
fn a_priority_out_of_range_is_refused() {
    for priority in [0, 100] {
        assert_eq!(
            realtime(priority).unwrap_err().to_string(),
            format!(
                "cannot run in real time at priority {priority}: Invalid argument (os error 22)"
            )
        );
    }
}

#[test]
fn without_the_right_there_is_no_realtime() {
    thread::spawn(|| {
        let mut kept = capabilities(None).unwrap();
        kept.effective.remove(CapabilitySet::SYS_NICE);
        set_capabilities(None, kept).unwrap();
        assert!(matches!(realtime(7), Err(Error::NotPermitted { .. })));
        assert_eq!(scheduling(), ORDINARY);
    })
    .join()
    .unwrap();
}

/// In kilobytes.
fn locked_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What later mappings do depends on the limit, which belongs to the whole process: one test.
#[test]
fn memory_is_locked_as_far_as_it_cannot_make_later_mappings_fail() {
    assert_eq!(locked_memory(), 0);
    lock_memory().unwrap();
    assert!(locked_memory() > 1024, "the program text alone is larger");
    let before = locked_memory();
    let later = vec![1_u8; 64 << 20];
    // Less than all of it, as the threads of other tests end meanwhile.
    assert!(locked_memory() >= before + (16 << 10), "later memory is locked, too");
    drop(later);
    rustix::mm::munlockall().unwrap();

    assert!(memory_lock_is_unlimited());
    let limit = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: Some(4096), maximum: limit.maximum }).unwrap();
    assert!(memory_lock_is_unlimited(), "CAP_IPC_LOCK overrides the limit");
    let limited = thread::spawn(|| {
        let mut kept = capabilities(None).unwrap();
        kept.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, kept).unwrap();
        memory_lock_is_unlimited()
    });
    let limited = limited.join().unwrap();
    setrlimit(Resource::Memlock, limit).unwrap();
    assert!(!limited);
}

#[test]
fn a_program_dies_with_the_thread_that_started_it() {
    let mut child = thread::spawn(|| {
        let mut command = Command::new("sleep");
        command.arg("60");
        die_with_parent(&mut command);
        command.spawn().unwrap()
    })
    .join()
    .unwrap();
    let status = wait_for("the program to end", || child.try_wait().unwrap());
    assert_eq!(status.signal(), Some(libc::SIGKILL));
}

#[test]
fn boot_time_is_that_of_the_kernel() {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let before: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let difference = boot_time().as_secs_f64() - before;
    // /proc/uptime has two decimals.
    assert!((-0.02..1.0).contains(&difference), "{difference}");
}
