//! Whether a starved machine loses its virtual IP: cplb's own VRRP beside keepalived's, at the same
//! time on the same machine, each on three hosts in network namespaces. Prints one markdown table.
//!
//! ```text
//! cargo bench -p cplb --bench starvation [-- --quick | --only PATTERN]
//! ```
//!
//! Needs keepalived on PATH, and root: an ordinary user has no real-time scheduling to show.

mod aims;
mod case;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod load;
mod logs;
mod outcome;
mod oversleep;
mod table;
mod trial;
mod witness;

use std::process::ExitCode;

use clap::Parser;

use case::{Case, Scenario};
use common::error::Error;
use common::interrupt::Interrupt;
use common::surroundings::Surroundings;
use outcome::Results;

/// Starves cplb's own VRRP and keepalived's beside it, and counts what they lose.
#[derive(Debug, Parser)]
#[command(name = "starvation")]
struct Options {
    /// Half a minute each instead of 5 and 10
    #[arg(long)]
    quick: bool,
    /// So many seconds each
    #[arg(long, value_name = "N", conflicts_with = "quick", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Run only cases whose name contains it, such as `20ms-processors/keepalived`; may be given again
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Busy threads on each processor
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    busy: u16,
    /// Show what the daemons logged
    #[arg(long)]
    logs: bool,
    /// What cargo gives every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starvation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    if !Case::all().any(|case| is_wanted(options, case)) {
        return Err(Error::NoSuchCase(Case::all().map(|case| case.to_string()).collect()));
    }
    // Before any thread runs.
    kernel::netns::isolate()?;
    let interrupt = Interrupt::catch()?;
    let surroundings = Surroundings::look()?;

    let mut results = Results::default();
    let outcome = Scenario::ALL.into_iter().try_for_each(|scenario| {
        let cases: Vec<Case> = scenario.cases().filter(|case| is_wanted(options, *case)).collect();
        match cases.is_empty() {
            true => Ok(()),
            false => trial::run(scenario, &cases, options, &interrupt, &mut results),
        }
    });
    // What was seen until an interruption is worth showing, too.
    println!("{}{}", surroundings.describe(), results.circumstances());
    println!("{}", table::markdown(&results));
    println!("{}", aims::judge(&results));
    outcome
}

fn is_wanted(options: &Options, case: Case) -> bool {
    let name = case.to_string();
    options.only.is_empty() || options.only.iter().any(|pattern| name.contains(pattern))
}
