//! What the daemon does, at a glance: gathered from its parts, for people and for programs.

mod report;
mod text;

use std::time::Duration;

pub(crate) use report::{Report, View};

use crate::admin_client::ask;
use crate::cli::{self, OutputFormat};
use crate::error::Error;
use crate::run_dir::admin_socket;

/// Shows the status of the running daemon, once or until interrupted.
pub(crate) fn run(arguments: &cli::Status) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(show(arguments))
}

const WATCH_EACH: Duration = Duration::from_secs(1);

async fn show(arguments: &cli::Status) -> Result<(), Error> {
    let socket = admin_socket(&arguments.run_dir);
    let path = match arguments.output {
        OutputFormat::Text => "/status.txt",
        OutputFormat::Json => "/status",
    };
    loop {
        let shown = ask(&socket, path).await?;
        if !arguments.watch {
            print!("{shown}");
            return Ok(());
        }
        let clear = if arguments.output == OutputFormat::Text { "\x1b[H\x1b[2J" } else { "" };
        print!("{clear}{shown}");
        tokio::time::sleep(WATCH_EACH).await;
    }
}
