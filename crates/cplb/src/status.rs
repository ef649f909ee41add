//! What the daemon does, at a glance: gathered from its parts, for people and for programs.

mod ago;
mod page;
mod report;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod view;
mod virtual_servers;
mod warnings;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use page::page;
pub(crate) use report::{
    Apiserver, ExtraPort, Histogram, InKernel, Keepalived, LoadBalancer, RealServer, Report,
    VirtualRouter, VirtualServer, Worker,
};
use tokio::sync::mpsc::UnboundedSender;
pub(crate) use view::{View, load_balancer, milliseconds, time};
pub(crate) use warnings::of as warnings;

use crate::admin_client::ask;
use crate::cli::{self, OutputFormat};
use crate::error::Error;
use crate::run_dir::admin_socket;
use crate::succession;

/// A daemon that can be asked how it does.
pub(crate) trait Reporting: Send + Sync + 'static {
    /// Whether it does what it is there for.
    fn is_ready(&self) -> bool;

    /// Everything, as it is now.
    fn status(&self) -> Report;

    /// Where to ask for another process in its place; `None` if that cannot be.
    fn upgrades(&self) -> Option<&UnboundedSender<succession::Request>> {
        None
    }
}

/// Shows the status of the running daemon, once or until interrupted.
pub(crate) fn run(arguments: &cli::Status) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(show(arguments))
}

const WATCH_EACH: Duration = Duration::from_secs(1);

async fn show(arguments: &cli::Status) -> Result<(), Error> {
    let sockets = [&*arguments.run_dir, &arguments.run_dir.join("worker")].map(admin_socket);
    let path = match arguments.output {
        OutputFormat::Text if wants_colours() => "/status.txt?colours",
        OutputFormat::Text => "/status.txt",
        OutputFormat::Json => "/status",
    };
    loop {
        let shown = ask_all(&sockets, path, arguments.output).await?;
        if !arguments.watch {
            print!("{shown}");
            return Ok(());
        }
        let clear = if arguments.output == OutputFormat::Text { "\x1b[H\x1b[2J" } else { "" };
        print!("{clear}{shown}");
        tokio::time::sleep(WATCH_EACH).await;
    }
}

/// What the daemon says, and for people the worker's beside it as well. On a node that is a worker
/// alone, its daemon is the one.
async fn ask_all(
    [daemon, worker]: &[PathBuf; 2],
    path: &str,
    output: OutputFormat,
) -> Result<String, Error> {
    match (ask(daemon, path).await, output) {
        (Ok(shown), OutputFormat::Json) => Ok(shown),
        (Ok(shown), OutputFormat::Text) => Ok(match ask(worker, path).await {
            Ok(worker) => format!("{shown}\n{worker}"),
            Err(_) => shown,
        }),
        // The error to report is about the place that was asked for.
        (Err(error), _) => ask(worker, path).await.map_err(|_| error),
    }
}

/// On a terminal, and not where the user wants none (no-color.org).
fn wants_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !unwanted
}
