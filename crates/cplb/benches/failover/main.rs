//! What a client notices of a failover: cplb's own VRRP beside keepalived's, the same faults on the
//! same three hosts in network namespaces. Prints one markdown table.
//!
//! ```text
//! cargo bench -p cplb --bench failover [-- --quick | --only PATTERN | --repeat N]
//! ```
//!
//! Needs keepalived on PATH, and root or the right to make user namespaces.

mod aims;
mod case;
mod client;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod figures;
mod measure;
mod service;
mod table;

use std::process::ExitCode;

use clap::Parser;

use case::Case;
use cluster::Cluster;
use common::error::Error;
use common::interrupt::Interrupt;
use common::surroundings::Surroundings;
use figures::Results;

/// Measures failovers of cplb's own VRRP beside keepalived's.
#[derive(Debug, Parser)]
#[command(name = "failover")]
struct Options {
    /// Measure each case once
    #[arg(long, conflicts_with = "repeat")]
    quick: bool,
    /// Measure each case so often
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Measure only cases whose name contains it, such as `keepalived/100ms/sigkill`; may be given again
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Show what the speakers log during each measurement
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
            eprintln!("failover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    let cases: Vec<Case> = Case::all().filter(|case| is_wanted(options, case)).collect();
    if cases.is_empty() {
        return Err(Error::NoSuchCase(Case::all().map(|case| case.to_string()).collect()));
    }
    // Before any thread runs.
    kernel::netns::isolate()?;
    let interrupt = Interrupt::catch()?;
    let surroundings = Surroundings::look()?;

    let mut results = Results::default();
    let outcome = measure_all(&cases, options, &interrupt, &mut results);
    // What was measured until an interruption is worth showing, too.
    println!("{}", surroundings.describe());
    println!("{}", table::markdown(&results));
    println!("{}", aims::judge(&results));
    outcome
}

fn is_wanted(options: &Options, case: &Case) -> bool {
    let name = case.to_string();
    options.only.is_empty() || options.only.iter().any(|pattern| name.contains(pattern))
}

fn measure_all(
    cases: &[Case],
    options: &Options,
    interrupt: &Interrupt,
    results: &mut Results,
) -> Result<(), Error> {
    let repeats = if options.quick { 1 } else { options.repeat };
    // All events of one speaker and interval happen to the same cluster.
    for cases in cases.chunk_by(Case::share_a_cluster) {
        let mut cluster = Cluster::build(cases[0].speaker, cases[0].pace, interrupt)?;
        for repeat in 0..repeats {
            for case in cases {
                let sample = measure::measure(&mut cluster, case.event, (repeat, repeats))?;
                eprintln!("{case} {}/{repeats}: {sample}", repeat + 1);
                if options.logs {
                    eprintln!("{}", cluster.fresh_logs());
                }
                results.add(*case, sample);
            }
        }
    }
    Ok(())
}
