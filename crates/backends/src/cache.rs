//! The last discovered list, on disk: it carries a start at which no apiserver answers.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::warn;

/// Which layout of the file this is.
const VERSION: u32 = 1;
/// A list of a thousand apiservers stays below this many bytes; more is not ours.
const LARGEST: u64 = 64 * 1024;

/// The list found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) addresses: BTreeSet<SocketAddr>,
    /// How long ago it was written, which is when the list last changed.
    pub(crate) age: Duration,
}

/// The file. It holds addresses and nothing else.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    apiservers: BTreeSet<SocketAddr>,
}

/// Reads the list at `path`. A file that is not ours, or damaged, is left aside with a warning.
pub(crate) fn read(path: &Path) -> Option<Cached> {
    match try_read(path) {
        Ok(cached) => Some(cached),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let path = path.display();
            warn!(%path, %error, "the list of apiservers kept on disk is not usable; going on without it");
            None
        }
    }
}

fn try_read(path: &Path) -> io::Result<Cached> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is too large to be ours"));
    }
    let document: Document = serde_json::from_str(&text)?;
    if document.version != VERSION {
        let reason = format!("it has version {}, known is {VERSION}", document.version);
        return Err(io::Error::other(reason));
    }
    if document.apiservers.is_empty() {
        return Err(io::Error::other("it lists no apiserver"));
    }
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    Ok(Cached { addresses: document.apiservers, age })
}

/// Puts `addresses` at `path`, so that a crash at any moment leaves the old list or the new one.
pub(crate) fn write(path: &Path, addresses: &BTreeSet<SocketAddr>) -> io::Result<()> {
    let document = Document { version: VERSION, apiservers: addresses.clone() };
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let temporary = temporary(path);
    let written = write_synced(&temporary, &text).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The error to report is the first one; a file that cannot be removed changes nothing.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests;
