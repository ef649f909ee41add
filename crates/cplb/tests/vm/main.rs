//! The daemon with IPVS: three controllers, their apiservers and a client, inside a virtual machine,
//! since few kernels that tests run on have IPVS. One boot, told as stories.
//!
//! `cargo test -p cplb --test vm -- NAME...` runs the tests whose names contain one of the words.
//! `scripts/vm/run` says what the machine needs; where that is missing, the tests are skipped.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod absent;
mod builtin;
#[path = "../common/mod.rs"]
mod common;
mod keepalived;
mod migration;
mod nodes;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, thread};

/// Set inside the machine.
const INSIDE: &str = "CPLB_TEST_INSIDE_VM";

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/vm/run");

/// In their order: the first needs a kernel into which IPVS is not loaded yet.
const TESTS: [(&str, fn()); 4] = [
    ("without_ipvs_nothing_is_begun", absent::without_ipvs_nothing_is_begun),
    ("the_holder_alone_directs", builtin::the_holder_alone_directs),
    ("keepalived_directs_by_users_templates", keepalived::keepalived_directs_by_users_templates),
    ("nodes_migrate_one_by_one_and_back", migration::nodes_migrate_one_by_one_and_back),
];

fn main() -> ExitCode {
    if env::var_os(INSIDE).is_some() {
        return run_tests();
    }
    if let Some(reason) = missing() {
        println!("skipped: the daemon is not tested with IPVS, since {reason}");
        return ExitCode::SUCCESS;
    }
    let test = env::current_exe().unwrap();
    let mut command = Command::new(RUN);
    command.args(["-t", "240", "-m", "1500M", "--"]).arg(test).args(env::args_os().skip(1));
    // The second names a place in memory of the host's kernel, which the machine does not have.
    command.env(INSIDE, "1").env_remove("TMPDIR");
    let status = command.status().unwrap();
    println!();
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why there can be no virtual machine here.
fn missing() -> Option<String> {
    if !rustix::process::getuid().is_root() {
        return Some("only root can start the virtual machine".into());
    }
    let there = |program: &str| {
        let command = format!("command -v {program}");
        Command::new("sh").args(["-c", &command]).output().is_ok_and(|it| it.status.success())
    };
    let tools = [
        ("linux.uml", "user-mode-linux"),
        ("kmod", "kmod"),
        ("ipvsadm", "ipvsadm"),
        ("iptables-legacy", "iptables"),
        ("keepalived", "keepalived"),
        ("openssl", "openssl"),
    ];
    let (program, package) = tools.into_iter().find(|(program, _)| !there(program))?;
    Some(format!("there is no {program} (Debian: package {package})"))
}

fn run_tests() -> ExitCode {
    // Debian's kernel has it built in, this one as a module.
    assert!(Command::new("modprobe").arg("ipv6").status().unwrap().success());
    let words: Vec<String> = env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let mut failed = Vec::new();
    for (name, test) in TESTS {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        println!("\ntest {name}");
        let started = Instant::now();
        // A thread of its own: the processes of a world end with the thread that started them.
        let ok = thread::spawn(move || catch_unwind(test).is_ok()).join().unwrap();
        let word = if ok { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", started.elapsed().as_secs_f32());
        if !ok {
            failed.push(name);
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
