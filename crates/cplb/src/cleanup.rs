use std::path::Path;

use kernel::address::Addresses;
use kernel::redirect;

use crate::address_labels;
use crate::cli;
use crate::error::Error;
use crate::run_dir::{self, RunDir};
use crate::worker;

/// Removes what a daemon left in the kernel and says what that was.
pub(crate) fn run(arguments: &cli::Cleanup) -> Result<(), Error> {
    let _lock = RunDir::take(&arguments.run_dir)?;
    if arguments.worker {
        return remove_files_of_worker(&arguments.state_dir);
    }
    let mut removed = remove_leftovers(&arguments.run_dir)?;
    if redirect::remove_iptables_leftovers(redirect::TABLE)? {
        removed.push("the iptables rules of cplb".into());
    }
    let labels = address_labels::remove_leftovers(&arguments.run_dir)?;
    removed.extend(labels.iter().map(|address| format!("the address label of {address}")));
    if removed.is_empty() {
        println!("nothing of cplb is left in the kernel");
    }
    for what in removed {
        println!("removed {what}");
    }
    Ok(())
}

fn remove_files_of_worker(state_dir: &Path) -> Result<(), Error> {
    let told = worker::remove_written(state_dir)?;
    if told.is_empty() {
        println!("no file of a worker is left");
    }
    for what in told {
        println!("{what}");
    }
    Ok(())
}

/// Removes everything that is marked as ours, or that the run directory says is; what was there, in
/// words.
pub(crate) fn remove_leftovers(run_dir: &Path) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    // First, since the kernel knows whether a living process owns the rules: then the addresses are
    // that one's too, whatever its run directory.
    if redirect::remove_leftovers(redirect::TABLE)? {
        removed.push("the firewall rules of cplb".into());
    }
    let addresses = Addresses::open()?.release_ours()?;
    removed.extend(
        addresses.iter().map(|found| format!("the virtual address {}", found.virtual_address())),
    );
    removed.extend(keepalived::remove_leftovers(run_dir)?);
    removed.extend(ipvs::remove_leftovers(&run_dir::ipvs_state(run_dir))?);
    Ok(removed)
}
