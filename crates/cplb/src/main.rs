//! `cplb`: a highly available Kubernetes control plane without an external load balancer.

mod address_labels;
mod admin;
mod admin_client;
mod balancer;
mod cleanup;
mod cli;
mod controller;
mod doctor;
mod document;
mod engine;
mod error;
mod events;
mod keepalived_config;
mod lab;
mod log;
mod metrics;
mod notify;
mod plan;
mod proxy_only;
mod readiness;
mod run_dir;
mod scan;
mod signals;
mod status;
mod succession;
mod validate;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Error;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_daemon = matches!(
        cli.command,
        Command::Controller(_) | Command::Worker(_) | Command::Proxy(_) | Command::LabApiserver(_)
    );
    let rest_of_the_log = match log::init(cli.log_level, cli.log_format, is_daemon) {
        Ok(rest) => rest,
        Err(error) => return fail(&error.into()),
    };

    let outcome = match cli.command {
        Command::Controller(arguments) => controller::run(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Proxy(arguments) => proxy_only::run(&arguments),
        Command::Validate(arguments) => return validate::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Upgrade(arguments) => succession::ask(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Cleanup(arguments) => cleanup::run(&arguments),
        Command::KeepalivedConfig(arguments) => {
            keepalived_config::print(&arguments);
            Ok(())
        }
        // The daemon follows the states itself.
        Command::KeepalivedSetstate(_) => Ok(()),
        Command::KeepalivedWatchdog(arguments) => keepalived_config::watch(&arguments),
        Command::Lab(arguments) => return lab::run(arguments),
        Command::LabApiserver(arguments) => lab::run_apiserver(arguments),
        Command::Completion { shell } => cli::print_completion(shell),
        Command::Man => cli::print_man(),
    };
    drop(rest_of_the_log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    eprintln!("cplb: {error}");
    error.exit_code()
}
