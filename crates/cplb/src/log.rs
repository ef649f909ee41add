use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::cli::LogFormat;

/// Logs to standard error. Libraries speak from warnings on, ourselves from `level` on.
pub(crate) fn init(level: Level, format: LogFormat) {
    let ours = ["backends", "config", "cplb", "kernel", "lab", "proxy", "vip", "vrrp"];
    let filter = Targets::new()
        .with_default(level.min(Level::WARN))
        .with_targets(ours.map(|target| (target, level)))
        // It warns whenever an apiserver ends a watch; what that means, the backends say.
        .with_target("kube_client", level.min(Level::ERROR));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(io::stderr().is_terminal())).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}
