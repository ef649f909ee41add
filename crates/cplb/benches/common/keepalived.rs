//! keepalived on a host: two processes, of which one supervises the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::world::{Daemon, Launch};
use rustix::process::{Pid, Signal, kill_process};

use super::VIRTUAL_IP;
use super::error::Error;
use super::pace::Pace;
use super::speaker::Scheduling;

const PROGRAM: &str = "keepalived";

/// Writes the configuration below `directory`; how to start it there.
pub(crate) fn launch(
    directory: &Path,
    pace: Pace,
    scheduling: Scheduling,
) -> Result<Launch, Error> {
    let file = directory.join("keepalived.conf");
    fs::write(&file, configuration(pace, scheduling))
        .map_err(Error::system("keepalived's configuration"))?;
    Ok(Launch::new(PROGRAM)
        .arguments(["--dont-fork", "--no-syslog", "--log-console", "--log-detail", "--vrrp"])
        .option("--use-file", file)
        .option("--pid", directory.join("keepalived.pid"))
        .option("--vrrp_pid", vrrp_pid(directory)))
}

/// As `keepalived --version` tells it: "Keepalived v2.2.7 (01/16,2022)".
pub(crate) fn version() -> Result<String, Error> {
    let output = Command::new(PROGRAM).arg("--version").output().map_err(Error::NoKeepalived)?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(text.lines().next().unwrap_or("keepalived of an unknown version").to_owned())
}

/// Kills both at once. On its own each would do something about the end of the other.
pub(crate) fn kill(daemon: &mut Daemon, directory: &Path) -> Result<(), Error> {
    daemon.freeze()?;
    signal_speaker(directory, Signal::KILL)?;
    Ok(daemon.kill()?)
}

/// Lets both hang.
pub(crate) fn freeze(daemon: &mut Daemon, directory: &Path) -> Result<(), Error> {
    daemon.freeze()?;
    signal_speaker(directory, Signal::STOP)
}

/// Lets both go on.
pub(crate) fn thaw(daemon: &mut Daemon, directory: &Path) -> Result<(), Error> {
    signal_speaker(directory, Signal::CONT)?;
    Ok(daemon.thaw()?)
}

/// The one of the two that speaks VRRP.
pub(crate) fn speaker(directory: &Path) -> Result<Pid, Error> {
    let file = vrrp_pid(directory);
    let number = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let process = number.and_then(Pid::from_raw);
    process.ok_or_else(|| Error::NoProcessNumber(file.display().to_string()))
}

fn signal_speaker(directory: &Path, signal: Signal) -> Result<(), Error> {
    let process = speaker(directory)?;
    // Its parent is ours and lives, frozen: the number is still its own.
    kill_process(process, signal).map_err(|errno| Error::system("a signal")(errno.into()))
}

fn vrrp_pid(directory: &Path) -> PathBuf {
    directory.join("keepalived-vrrp.pid")
}

/// As k0s writes it: all have the same state and priority, so whoever holds goes on holding. Only
/// real-time scheduling is not k0s'.
fn configuration(pace: Pace, scheduling: Scheduling) -> String {
    let global = match scheduling {
        Scheduling::Ordinary => "",
        Scheduling::Realtime => "global_defs { vrrp_rt_priority 40\n vrrp_no_swap\n }\n",
    };
    let authentication = match pace.version() {
        2 => "authentication { auth_type PASS\n auth_pass BuyK0s\n }",
        // Version 3 has none.
        _ => "",
    };
    format!(
        "{global}vrrp_instance k0s-vip-0 {{
            state BACKUP
            interface eth0
            virtual_router_id 51
            version {version}
            priority 200
            advert_int {interval}
            {authentication}
            virtual_ipaddress {{
                {VIRTUAL_IP}/24
            }}
        }}\n",
        version = pace.version(),
        interval = pace.interval().as_secs_f64(),
    )
}
