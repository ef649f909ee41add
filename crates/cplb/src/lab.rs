use std::process::ExitCode;

use crate::cli;
use crate::error::Error;

pub(crate) fn run(_arguments: cli::Lab) -> ExitCode {
    ExitCode::FAILURE
}

pub(crate) fn run_apiserver(_arguments: cli::LabApiserver) -> Result<(), Error> {
    Ok(())
}
