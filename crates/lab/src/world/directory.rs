//! The world's directory below the system's temporary one. Removed when the world ends; one whose lab was killed is
//! removed by the next lab, which finds its lock free.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::Error;

const PREFIX: &str = "cplb-lab.";
const LOCK: &str = "lock";

pub(super) struct Directory {
    directory: TempDir,
    _lock: File,
}

impl Directory {
    pub(super) fn new() -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        remove_abandoned(&parent);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .map_err(|source| Error::file(&parent, source))?;
        // Locked before it has its name: nobody ever finds it unlocked while we live.
        let unnamed = directory.path().join("lock.new");
        let lock = File::create(&unnamed).map_err(|source| Error::file(&unnamed, source))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| Error::file(&unnamed, errno.into()))?;
        fs::rename(&unnamed, directory.path().join(LOCK))
            .map_err(|source| Error::file(&unnamed, source))?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Best effort: what cannot be removed now is found again by the next lab.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _removed = fs::remove_dir_all(entry.path());
        }
    }
}
