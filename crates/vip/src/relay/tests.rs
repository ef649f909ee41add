use std::process::{Child, Command};
use std::thread;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

/// A process that stands for the successor, and lives until it is killed.
struct Process {
    child: Child,
    pidfd: OwnedFd,
}

impl Process {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        Self { child, pidfd }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn taken(relay: &Relay) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    take(relay.end_of_successor(), &mut buffer).unwrap().then_some(buffer)
}

#[test]
fn a_successor_takes_the_baton() {
    let (relay, process) = (Relay::new().unwrap(), Process::start());
    thread::scope(|scope| {
        scope.spawn(|| {
            let baton = loop {
                match taken(&relay) {
                    Some(baton) => break baton,
                    None => thread::sleep(Duration::from_millis(1)),
                }
            };
            assert_eq!(baton, b"baton");
            say_taken(relay.end_of_successor());
        });
        relay.hold_out(b"baton", process.pidfd.as_fd(), LONG).unwrap();
    });
}

#[test]
fn one_that_does_not_come_cannot_take_it_later() {
    let (relay, mut process) = (Relay::new().unwrap(), Process::start());
    let error = relay.hold_out(b"baton", process.pidfd.as_fd(), SHORT).unwrap_err();
    assert_eq!(error.to_string(), "the new process did not take over within 50.0ms");
    assert_eq!(taken(&relay), None);
    assert!(!process.has_ended());
}

#[test]
fn one_that_ends_with_the_baton_gives_it_back() {
    let (relay, mut process) = (Relay::new().unwrap(), Process::start());
    thread::scope(|scope| {
        let (relay, pidfd) = (&relay, process.pidfd.as_fd());
        let predecessor = scope.spawn(move || relay.hold_out(b"baton", pidfd, LONG));
        while taken(relay).is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        pidfd_send_signal(pidfd, Signal::KILL).unwrap();
        assert!(matches!(predecessor.join().unwrap(), Err(NotTaken::Ended)));
    });
    process.child.wait().unwrap();
}

#[test]
fn one_that_hangs_with_the_baton_is_killed() {
    let (relay, mut process) = (Relay::new().unwrap(), Process::start());
    thread::scope(|scope| {
        let (relay, pidfd) = (&relay, process.pidfd.as_fd());
        let predecessor = scope.spawn(move || relay.hold_out(b"baton", pidfd, SHORT));
        while taken(relay).is_none() && !predecessor.is_finished() {
            thread::yield_now();
        }
        assert!(matches!(predecessor.join().unwrap(), Err(NotTaken::Hung)));
    });
    assert!(process.has_ended());
}

#[test]
fn who_waits_learns_that_the_predecessor_is_gone() {
    let Relay { ours, theirs } = Relay::new().unwrap();
    drop(ours);
    let mut buffer = vec![1];
    assert!(take(theirs.as_fd(), &mut buffer).unwrap());
    assert_eq!(buffer, b"");
}

#[test]
fn a_baton_may_be_as_heavy_as_a_hundred_thousand_bytes() {
    let (relay, process) = (Relay::new().unwrap(), Process::start());
    let baton = vec![7; 100_000];
    send(&relay.ours, &baton, SendFlags::DONTWAIT).unwrap();
    assert_eq!(taken(&relay), Some(baton));
    drop(process);
}
