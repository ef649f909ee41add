use std::io;

use crate::cli::{KeepalivedConfig, KeepalivedTemplate, KeepalivedWatchdog};
use crate::error::Error;

/// Prints a built-in template, to begin a custom one with.
pub(crate) fn print(arguments: &KeepalivedConfig) {
    let template = match arguments.template {
        KeepalivedTemplate::Vrrp => keepalived::VRRP_TEMPLATE,
        KeepalivedTemplate::Virtualservers => keepalived::VIRTUAL_SERVERS_TEMPLATE,
    };
    print!("{template}");
}

/// Runs the watchdog of the daemon at the other end of standard input.
pub(crate) fn watch(arguments: &KeepalivedWatchdog) -> Result<(), Error> {
    // `ps` would show "exe" otherwise.
    let _ = rustix::thread::set_name(c"cplb-watchdog");
    Ok(keepalived::watch(io::stdin(), &arguments.run_dir)?)
}
