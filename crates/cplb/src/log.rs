mod queue;

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::prelude::*;

use crate::cli::LogFormat;
use queue::{Queue, Rest};

/// Logs to standard error. Libraries speak from warnings on, ourselves from `level` on.
///
/// In a daemon nobody who logs waits for a reader: a thread writes, and what is returned waits for
/// it when dropped. Other programs start no thread here, since the lab must have only one at first.
pub(crate) fn init(level: Level, format: LogFormat, is_daemon: bool) -> io::Result<Option<Rest>> {
    let (writer, rest) = match is_daemon {
        false => (BoxMakeWriter::new(io::stderr), None),
        true => {
            let (queue, rest) = Queue::start(io::stderr(), |lost| {
                tracing::warn!(lost, "log lines are lost: nobody read them in time");
            })?;
            (BoxMakeWriter::new(queue), Some(rest))
        }
    };
    let ours = ["backends", "config", "cplb", "kernel", "lab", "nllb", "proxy", "vip", "vrrp"];
    let filter = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_targets(ours.map(|target| (target, level)))
        // It warns whenever an apiserver ends a watch; what that means, the backends say.
        .with_target("kube_client", level.min(Level::ERROR));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(io::stderr().is_terminal())).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    Ok(rest)
}
