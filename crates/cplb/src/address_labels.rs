//! Address labels that do not outlive the daemon for long.
//!
//! The kernel neither marks labels nor removes them with a process. So they stand in a file of the
//! run directory before they are set, by which the next start and `cplb cleanup` know whose they
//! are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use kernel::address_label::AddressLabels;

use crate::error::Error;

#[cfg(test)]
mod tests;

/// The labels of this daemon.
pub(crate) struct Labels {
    kernel: Option<AddressLabels>,
    file: PathBuf,
}

impl Labels {
    /// Removes what an earlier run left first. The caller holds the run directory's lock.
    pub(crate) fn open(run_dir: &Path) -> Result<Self, Error> {
        for address in remove_leftovers(run_dir)? {
            tracing::warn!("removed what an earlier run left: the address label of {address}");
        }
        Ok(Self { kernel: Some(AddressLabels::open()?), file: file(run_dir) })
    }

    /// Goes on with those of the process before this one, which still runs.
    pub(crate) fn inherit(run_dir: &Path) -> Result<Self, Error> {
        let file = file(run_dir);
        let mut kernel = AddressLabels::open()?;
        kernel.apply(&read(&file)?)?;
        Ok(Self { kernel: Some(kernel), file })
    }

    /// Leaves them to the process that goes on.
    pub(crate) fn leave(mut self) {
        if let Some(kernel) = self.kernel.take() {
            kernel.leave();
        }
    }

    /// Brings about just the `wanted` labels.
    pub(crate) fn apply(&mut self, wanted: &BTreeMap<Ipv6Addr, u32>) -> Result<(), Error> {
        let Some(kernel) = &mut self.kernel else { return Ok(()) };
        // Those that go have to be known until they are gone.
        let mut known = read(&self.file)?;
        known.extend(wanted);
        write(&self.file, &known)?;
        kernel.apply(wanted)?;
        write(&self.file, wanted)
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        if let Err(error) = self.apply(&BTreeMap::new()) {
            tracing::warn!(%error, "address labels may be left, `cplb cleanup` removes them");
        }
    }
}

/// The labels that a killed daemon of this run directory left in the kernel.
pub(crate) fn leftovers(run_dir: &Path) -> Result<Vec<Ipv6Addr>, Error> {
    let known = read(&file(run_dir))?;
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let found = AddressLabels::open()?.list()?;
    // One of another value was set by somebody else since.
    let ours = known.into_iter().filter(|(address, label)| found.get(address) == Some(label));
    Ok(ours.map(|(address, _)| address).collect())
}

/// Removes them; what was there.
pub(crate) fn remove_leftovers(run_dir: &Path) -> Result<Vec<Ipv6Addr>, Error> {
    let left = leftovers(run_dir)?;
    let mut kernel = AddressLabels::open()?;
    for address in &left {
        kernel.remove(*address)?;
    }
    write(&file(run_dir), &BTreeMap::new())?;
    Ok(left)
}

fn file(run_dir: &Path) -> PathBuf {
    run_dir.join("address-labels")
}

/// One label a line, `fd00::100 10000`. What is not understood was not written by us.
fn read(file: &Path) -> Result<BTreeMap<Ipv6Addr, u32>, Error> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|source| Error::RunDir { path: file.to_owned(), source })?,
    };
    let label = |line: &str| {
        let (address, label) = line.split_once(' ')?;
        Some((address.parse().ok()?, label.parse().ok()?))
    };
    Ok(text.lines().filter_map(label).collect())
}

/// No label, no file.
fn write(file: &Path, labels: &BTreeMap<Ipv6Addr, u32>) -> Result<(), Error> {
    let failed = |source| Error::RunDir { path: file.to_owned(), source };
    if labels.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    let text = labels.iter().fold(String::new(), |mut text, (address, label)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address} {label}");
        text
    });
    // Whole or not at all, also when we are killed in the middle.
    let new = file.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, file)).map_err(failed)
}
