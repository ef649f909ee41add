use kernel::address::Addresses;
use kernel::redirect;

use crate::cli;
use crate::error::Error;
use crate::run_dir::RunDir;

/// Removes what a daemon left in the kernel and says what that was.
pub(crate) fn run(arguments: &cli::Cleanup) -> Result<(), Error> {
    let _lock = RunDir::take(&arguments.run_dir)?;
    let mut removed = remove_leftovers()?;
    if redirect::remove_iptables_leftovers(redirect::TABLE)? {
        removed.push("the iptables rules of cplb".into());
    }
    if removed.is_empty() {
        println!("nothing of cplb is left in the kernel");
    }
    for what in removed {
        println!("removed {what}");
    }
    Ok(())
}

/// Removes everything marked as ours; what was there, in words.
pub(crate) fn remove_leftovers() -> Result<Vec<String>, Error> {
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
    Ok(removed)
}
