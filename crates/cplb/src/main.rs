//! `cplb`: a highly available Kubernetes control plane without an external load balancer.

mod admin;
mod admin_client;
mod balancer;
mod cleanup;
mod cli;
mod controller;
mod doctor;
mod document;
mod error;
mod events;
mod lab;
mod log;
mod plan;
mod proxy_only;
mod readiness;
mod run_dir;
mod scan;
mod signals;
mod status;
mod validate;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log::init(cli.log_level, cli.log_format);

    let outcome = match cli.command {
        Command::Controller(arguments) => controller::run(&arguments),
        Command::Proxy(arguments) => proxy_only::run(&arguments),
        Command::Validate(arguments) => return validate::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Doctor(arguments) => return doctor::run(&arguments),
        Command::Cleanup(arguments) => cleanup::run(&arguments),
        Command::Lab(arguments) => return lab::run(arguments),
        Command::LabApiserver(arguments) => lab::run_apiserver(arguments),
        Command::Completion { shell } => cli::print_completion(shell),
        Command::Man => cli::print_man(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cplb: {error}");
            error.exit_code()
        }
    }
}
