use std::fs;

use rustix::system::uname;

use super::error::Error;
use super::keepalived;

/// What the figures depend on beside the speakers.
pub(crate) struct Surroundings {
    keepalived: String,
    load_before: String,
}

impl Surroundings {
    /// Looks before anything is measured.
    pub(crate) fn look() -> Result<Self, Error> {
        Ok(Self { keepalived: keepalived::version()?, load_before: load_average() })
    }

    /// Tells of them, after everything was measured.
    pub(crate) fn describe(&self) -> String {
        let Self { keepalived, load_before } = self;
        let system = uname();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "- cplb {version}{build}, beside {keepalived}\n\
            - {name} {release} {machine}, {processors} processors\n\
            - load average before {load_before}, after {load_after}\n",
            version = env!("CARGO_PKG_VERSION"),
            build = if cfg!(debug_assertions) { " (not optimised)" } else { "" },
            name = system.sysname().to_string_lossy(),
            release = system.release().to_string_lossy(),
            machine = system.machine().to_string_lossy(),
            load_after = load_average(),
        )
    }
}

/// Of the last 1, 5 and 15 minutes.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split(' ').take(3).collect();
    averages.join(" ")
}
