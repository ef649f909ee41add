use std::process::ExitCode;
use std::time::Duration;

use ::lab::Output;
use ::lab::{apiserver, world};

use crate::cli::{self, OutputFormat, VrrpEngine};
use crate::error::Error;

/// Exit code 1 if an expectation of the scenario was not met.
pub(crate) fn run(arguments: cli::Lab) -> ExitCode {
    match play(arguments) {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(error) => {
            eprintln!("cplb: {error}");
            error.exit_code()
        }
    }
}

fn play(arguments: cli::Lab) -> Result<::lab::Verdict, Error> {
    Ok(::lab::run(::lab::Options {
        binary: std::env::current_exe()?,
        config: arguments.config,
        vrrp: match arguments.vrrp {
            VrrpEngine::Builtin => world::VrrpEngine::Builtin,
            VrrpEngine::Keepalived => world::VrrpEngine::Keepalived,
        },
        scenario: arguments.scenario,
        batch: arguments.batch,
        duration: arguments.duration.map(Duration::from_secs),
        request_interval: Duration::from_millis(arguments.request_interval),
        output: match arguments.output {
            OutputFormat::Text => Output::Text,
            OutputFormat::Json => Output::Json,
        },
    })?)
}

/// One apiserver of the lab, as a process of its own.
pub(crate) fn run_apiserver(arguments: cli::LabApiserver) -> Result<(), Error> {
    let options: apiserver::Options = serde_json::from_str(&arguments.options)
        .map_err(|error| Error::Unsupported(format!("--options: {error}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(apiserver::run(options))?)
}
