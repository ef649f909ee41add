//! Whoever dies, no address stays with a node that does not speak for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use vrrp::State;

use crate::node::{Node, kill, kill_without_a_word, pid, settings};
use crate::segment::Segment;
use crate::{SECOND, TAKE_OVER, wait_for};

const ADDRESS: &str = "10.5.0.100/24";

#[test]
fn a_killed_keepalived_is_started_again() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    node.told();
    kill(node.pid("keepalived.pid"), Signal::KILL);
    wait_for("the address to go", SECOND, || !segment.holds(1, ADDRESS));
    wait_for("the restart", 5 * SECOND, || node.keepalived.status().restarts == 1);
    node.wait_for(State::Active, TAKE_OVER);
    assert!(segment.holds(1, ADDRESS));
    assert_eq!(
        node.told(),
        [
            "Active to Initialize",
            "died, again in 500ms",
            "started",
            "Initialize to Backup",
            "Backup to Active"
        ]
    );
    assert_eq!(node.keepalived.status().restarts, 1);
}

/// Nothing of keepalived is left to remove the address: we do.
#[test]
fn all_of_keepalived_killed_at_once_leaves_no_address() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    node.told();
    kill_without_a_word(&node);
    wait_for("the address to go", 3 * SECOND, || !segment.holds(1, ADDRESS));
    node.wait_for_event("removed the virtual address 10.5.0.100/24 of keepalived", SECOND);
    node.wait_for_event("started", 5 * SECOND);
    node.wait_for(State::Active, TAKE_OVER);
}

/// A package that was upgraded may refuse what its predecessor ran.
#[test]
fn keepalived_tests_its_configuration_before_every_start() {
    let segment = Segment::new(1);
    let directory = tempfile::tempdir().unwrap();
    let [program, calls, refuse] =
        ["keepalived", "calls", "refuse"].map(|name| directory.path().join(name));
    let script = format!(
        "#!/bin/sh\necho \"$1\" >> {}\n[ $1 = --config-test ] && [ -e {} ] && echo not now && exit 1\n\
         PATH=$PATH:/usr/sbin:/sbin\nexec keepalived \"$@\"\n",
        calls.display(),
        refuse.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let node =
        Node::start(&segment, 1, &keepalived::Settings { program: Some(program), ..settings(1) });
    node.wait_for(State::Active, TAKE_OVER);
    assert_eq!(fs::read_to_string(&calls).unwrap(), "--version\n--config-test\n--dont-fork\n");

    fs::write(&calls, "").unwrap();
    fs::write(&refuse, "").unwrap();
    kill(node.pid("keepalived.pid"), Signal::KILL);
    let refusal = "trouble: keepalived does not accept the configuration:\n  not now";
    node.wait_for_event(refusal, TAKE_OVER);
    let status = node.keepalived.status();
    assert_eq!((status.process, status.restarts), (None, 0));
    fs::remove_file(&refuse).unwrap();
    node.wait_for_event("started", TAKE_OVER);
    node.wait_for(State::Active, TAKE_OVER);
    let calls = fs::read_to_string(&calls).unwrap();
    let (tests, start) = calls.split_at(calls.find("--dont-fork").unwrap());
    assert!(tests.lines().count() >= 2, "{calls}");
    assert!(tests.lines().all(|call| call == "--config-test"), "{calls}");
    assert_eq!(start, "--dont-fork\n");
    assert_eq!(node.keepalived.status().restarts, 1);
}

#[test]
fn a_killed_speaker_is_replaced_by_keepalived_itself() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    node.told();
    kill(node.pid("keepalived-vrrp.pid"), Signal::KILL);
    node.wait_for_event("Active to Initialize", 2 * SECOND);
    node.wait_for(State::Active, TAKE_OVER);
    assert_eq!(node.keepalived.status().restarts, 0);
}

/// Frozen with the address, it would let another node take it too.
#[test]
fn a_stopped_keepalived_is_started_again() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let parent = node.pid("keepalived.pid");
    node.told();
    kill(node.pid("keepalived-vrrp.pid"), Signal::STOP);
    let gone = wait_for("the address to go", 4 * SECOND, || !segment.holds(1, ADDRESS));
    println!("keepalived stopped: address gone after {gone:.1?}");
    node.wait_for_event("died", 5 * SECOND);
    wait_for("another keepalived", 5 * SECOND, || {
        node.keepalived.status().process.is_some_and(|process| process != parent)
    });
    node.wait_for(State::Active, TAKE_OVER);
}

/// Environment variable: the run directory of the helper.
const HELPER: &str = "KEEPALIVED_TEST_RUN_DIR";

/// Not a test by itself: what the next one kills.
#[test]
fn helper_that_is_killed() {
    let Ok(run_dir) = std::env::var(HELPER) else { return };
    let settings = keepalived::Settings { run_dir: run_dir.into(), ..settings(1) };
    let keepalived =
        keepalived::check(&settings).unwrap().start(std::sync::Arc::new(|_| {})).unwrap();
    keepalived.set_ready(true);
    // Bounded, should nobody kill it.
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_daemon_takes_keepalived_and_the_addresses_along() {
    let segment = Segment::new(2);
    let run_dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "deaths::helper_that_is_killed", "--nocapture"])
        .env(HELPER, run_dir.path())
        .stdout(Stdio::null());
    let mut daemon = segment.host(1).spawn(command).unwrap();
    wait_for("the address", TAKE_OVER, || segment.holds(1, ADDRESS));
    let heir = Node::start(&segment, 2, &settings(2));
    heir.wait_for(State::Backup, SECOND);
    let processes: Vec<u32> = ["keepalived.pid", "keepalived-vrrp.pid"]
        .iter()
        .map(|file| pid(run_dir.path(), file).unwrap())
        .collect();

    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let gone = wait_for("the address to go", SECOND, || !segment.holds(1, ADDRESS));
    // It said that it leaves (priority 0): the skew of priority 200, not three intervals.
    let taken = heir.wait_for(State::Active, 2 * SECOND);
    println!("daemon killed: address gone after {gone:.0?}, heir after {taken:.0?} more");
    for process in processes {
        wait_for("the end of keepalived", 3 * SECOND, || {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        });
    }

    let removed = segment.host(1).run(|| keepalived::remove_leftovers(run_dir.path())).unwrap();
    assert_eq!(removed.unwrap(), [""; 0]);
    assert_eq!(fs::read_dir(run_dir.path()).unwrap().count(), 0, "files are removed");
}

/// Daemon and keepalived killed in the same moment: the next start puts it right.
#[test]
fn what_a_crash_of_everything_left_is_removed_at_the_next_start() {
    let segment = Segment::new(1);
    let run_dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "deaths::helper_that_is_killed", "--nocapture"])
        .env(HELPER, run_dir.path())
        .stdout(Stdio::null());
    let mut daemon = segment.host(1).spawn(command).unwrap();
    wait_for("the address", TAKE_OVER, || segment.holds(1, ADDRESS));
    let [parent, child] =
        ["keepalived.pid", "keepalived-vrrp.pid"].map(|file| pid(run_dir.path(), file).unwrap());
    // Nobody gets the chance to clean up.
    daemon_stop(&daemon);
    kill(parent, Signal::STOP);
    kill(child, Signal::KILL);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    kill(parent, Signal::KILL);
    std::thread::sleep(SECOND / 2);
    assert!(segment.holds(1, ADDRESS), "this is what a crash leaves");

    let removed = segment.host(1).run(|| keepalived::remove_leftovers(run_dir.path())).unwrap();
    assert_eq!(removed.unwrap(), ["the virtual address 10.5.0.100/24 of keepalived"]);
    assert!(!segment.holds(1, ADDRESS));
}

fn daemon_stop(daemon: &std::process::Child) {
    kill(daemon.id(), Signal::STOP);
}
