//! A supervisor that hangs reads no log any more: the daemon does its work all the same.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use common::{Cluster, LONG, plan};

#[test]
fn a_log_that_nobody_reads_stops_neither_status_nor_hand_over() {
    let mut cluster = Cluster::build(plan());
    let log = pipe_in_place_of(cluster.world.node(0).controller.log());
    cluster.world.node_mut(0).apiserver.start().unwrap();
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("controller-1 holds, alone", |cluster| cluster.holders() == [0]);
    // The line may come a moment after what it tells.
    let log = RefCell::new(log);
    let text = RefCell::new(String::new());
    cluster.eventually("its log says so", |_| {
        text.borrow_mut().push_str(&read(&mut log.borrow_mut()));
        text.borrow().contains("this node holds the virtual IP")
    });
    let mut log = log.into_inner();

    fill(&mut log);
    // Its health, and thereby its readiness, is a log line each.
    cluster.world.node_mut(0).apiserver.kill().unwrap();
    cluster.eventually("the status tells that its apiserver is gone", |cluster| {
        cluster.status_of(0).is_some_and(|status| status["ready"] == false)
    });
    cluster.world.node_mut(0).controller.stop().unwrap();
    assert!(cluster.world.node_mut(0).controller.wait(LONG), "it does not obey SIGTERM");
    assert!(cluster.holders().is_empty());
}

#[test]
fn what_was_logged_meanwhile_is_read_later() {
    let mut cluster = Cluster::build(plan());
    let mut log = pipe_in_place_of(cluster.world.node(0).controller.log());
    fill(&mut log);
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("controller-1 holds, alone", |cluster| cluster.holders() == [0]);

    let mut text = String::new();
    for _ in 0..100 {
        text.push_str(&read(&mut log));
        std::thread::sleep(Duration::from_millis(20));
    }
    for line in ["watching the virtual IP: started", "this node holds the virtual IP"] {
        assert!(text.contains(line), "{text}");
    }
}

/// Both ends of it, so that it never ends.
fn pipe_in_place_of(log: &std::path::Path) -> File {
    mknodat(CWD, log, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let flags = OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).write(true).custom_flags(flags).open(log).unwrap()
}

fn read(pipe: &mut File) -> String {
    let mut bytes = Vec::new();
    // Ends with "would block", and keeps what it read until then.
    let _would_block = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim_start_matches('\n').to_owned()
}

/// With empty lines, until none fits any more.
fn fill(pipe: &mut File) {
    for size in [4096, 1] {
        while pipe.write(&vec![b'\n'; size]).is_ok() {}
    }
}
