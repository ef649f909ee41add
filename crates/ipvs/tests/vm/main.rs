//! IPVS in the kernel itself: real servers, directors and a client in network namespaces, inside a
//! virtual machine, since few kernels that tests run on have IPVS.
//!
//! `cargo test -p ipvs --test vm -- NAME...` runs the tests whose names contain one of the words.
//! `scripts/vm/run` says what the machine needs; where that is missing, the tests are skipped.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod crashes;
mod dummy;
mod forwarding;
mod many;
mod node;
mod schedulers;
mod take_over;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, thread};

/// Set inside the machine.
const INSIDE: &str = "CPLB_TEST_INSIDE_VM";

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/vm/run");

type Test = (&'static str, fn());

fn main() -> ExitCode {
    if let Some(state_file) = env::var_os(crashes::VICTIM) {
        crashes::be_the_victim(state_file.as_ref());
    }
    if env::var_os(INSIDE).is_some() {
        return run_tests();
    }
    if let Some(reason) = missing() {
        println!("skipped: IPVS is not tested, since {reason}");
        return ExitCode::SUCCESS;
    }
    let test = env::current_exe().unwrap();
    let mut command = Command::new(RUN);
    command.args(["-t", "180", "--"]).arg(test).args(env::args_os().skip(1)).env(INSIDE, "1");
    // The name of a place in memory of the host's kernel, which the machine does not have.
    command.env_remove("TMPDIR");
    let status = command.status().unwrap();
    println!();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why there can be no virtual machine here.
fn missing() -> Option<&'static str> {
    let there = |program: &str| {
        let command = format!("command -v {program}");
        Command::new("sh").args(["-c", &command]).output().is_ok_and(|it| it.status.success())
    };
    if !rustix::process::getuid().is_root() {
        return Some("only root can start the virtual machine");
    }
    if !there("linux.uml") {
        return Some("there is no linux.uml (Debian: package user-mode-linux)");
    }
    if !there("kmod") {
        return Some("there is no kmod (Debian: package kmod)");
    }
    if !there("ipvsadm") {
        return Some("there is no ipvsadm (Debian: package ipvsadm)");
    }
    None
}

fn run_tests() -> ExitCode {
    // Debian's kernel has it built in, this one as a module.
    world::run("modprobe", &["ipv6"]);
    let words: Vec<String> = env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let all: [&[Test]; 6] = [
        dummy::TESTS,
        schedulers::TESTS,
        forwarding::TESTS,
        many::TESTS,
        take_over::TESTS,
        crashes::TESTS,
    ];
    let tests: Vec<&Test> = all.into_iter().flatten().filter(|(name, _)| wanted(name)).collect();
    println!("\nrunning {} tests in a virtual machine", tests.len());
    let mut failed = Vec::new();
    for (name, test) in tests {
        let started = Instant::now();
        // A thread of its own, so that whatever it did to its own namespace ends with it.
        let outcome = thread::scope(|scope| {
            scope.spawn(|| catch_unwind(AssertUnwindSafe(test))).join().unwrap()
        });
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", started.elapsed().as_secs_f32());
        if outcome.is_err() {
            failed.push(name);
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
