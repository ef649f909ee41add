//! IPVS in the kernel itself: real servers, directors and a client in network namespaces. Few kernels
//! that tests run on have IPVS: `scripts/vm/test` runs them in a virtual machine that has.
//!
//! Like other ignored tests they run with `--ignored`; `--test-threads`, `--skip` and parts of names are
//! understood. Not the usual harness, since the program is also the process that some stories kill.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod arguments;
mod crashes;
mod dummy;
mod forwarding;
mod many;
mod node;
mod schedulers;
mod swift;
mod take_over;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::arguments::Arguments;

type Test = (&'static str, fn());

const TESTS: [(&str, &[Test]); 7] = [
    ("dummy", dummy::TESTS),
    ("schedulers", schedulers::TESTS),
    ("forwarding", forwarding::TESTS),
    ("many", many::TESTS),
    ("take_over", take_over::TESTS),
    ("crashes", crashes::TESTS),
    ("swift", swift::TESTS),
];

fn main() -> ExitCode {
    if let Some(state_file) = env::var_os(crashes::VICTIM) {
        crashes::be_the_victim(state_file.as_ref());
    }
    let arguments = Arguments::parse(env::args().skip(1));
    let all = TESTS.iter().flat_map(|(module, tests)| {
        tests.iter().map(move |(name, test)| (format!("{module}::{name}"), *test))
    });
    let tests: Vec<(String, fn())> = all.filter(|(name, _)| arguments.selects(name)).collect();
    println!("\nrunning {} tests", tests.len());
    if !arguments.ignored {
        println!("all are ignored: they take a kernel with IPVS, see scripts/vm/test\n");
        return ExitCode::SUCCESS;
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((name, test)) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !passes(name, *test) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..arguments.threads).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner();
    println!("\ntest result: {} passed, {failed} failed\n", tests.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// On a thread of its own: it names the test in the message of a panic, and whatever the test did to its
/// namespace ends with it.
fn passes(name: &str, test: fn()) -> bool {
    let started = Instant::now();
    let outcome = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || catch_unwind(AssertUnwindSafe(test)).is_ok())
        .unwrap()
        .join();
    let ok = outcome.is_ok_and(|ok| ok);
    let word = if ok { "ok" } else { "FAILED" };
    println!("test {name} ... {word} ({:.1} s)", started.elapsed().as_secs_f32());
    ok
}
