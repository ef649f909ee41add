//! Whether this host's clock can be believed.

use super::Finding;

#[cfg(test)]
mod tests;

const CHECK: &str = "clock";

/// Judges what the kernel says of its clock.
pub(crate) fn check(synchronised: Result<bool, kernel::Error>) -> Finding {
    match synchronised {
        Ok(true) => Finding::ok(CHECK, "it is synchronised"),
        Ok(false) => Finding::warning(CHECK, "nobody keeps the clock of this host in step")
            .because("a wrong clock makes certificates look expired or not yet valid, etcd warns of it, and the logs of two nodes do not fit together; the virtual IP itself does not depend on it")
            .advise("run chrony or systemd-timesyncd, and see `chronyc tracking` or `timedatectl`"),
        Err(error) => Finding::skipped(CHECK, error.to_string()),
    }
}

/// Asks the kernel.
pub(crate) fn look() -> Finding {
    check(kernel::process::clock_is_synchronised())
}
