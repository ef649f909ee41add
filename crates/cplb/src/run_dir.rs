use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Error;

/// The directory of a running daemon: its lock and its admin socket. The lock belongs to the open
/// file, so it ends with the process.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    lock: File,
}

impl RunDir {
    /// Makes the directory and takes the lock in it.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let error = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::RunDir { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(error(path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(error(&lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Only for the message.
            let _ = lock.read_to_string(&mut pid);
            return Err(Error::AlreadyRunning {
                run_dir: path.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        let run_dir = Self { path: path.to_owned(), lock };
        run_dir.write_pid()?;
        Ok(run_dir)
    }

    /// Goes on with the lock of the process before this one: as long as either has it, it is taken.
    pub(crate) fn inherit(path: &Path, lock: OwnedFd) -> Self {
        Self { path: path.to_owned(), lock: lock.into() }
    }

    /// The lock for a successor.
    pub(crate) fn bequeath(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// Says who works here.
    pub(crate) fn write_pid(&self) -> Result<(), Error> {
        let write = |mut lock: &File| -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&self.lock).map_err(|source| Error::RunDir { path: self.path.join("lock"), source })
    }

    /// Where the admin socket of this daemon is.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.path)
    }
}

/// Where the admin socket of the daemon with this run directory is.
pub(crate) fn admin_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("admin.sock")
}

/// The run directory of a worker on the node whose controller has this one.
pub(crate) fn of_worker(run_dir: &Path) -> PathBuf {
    run_dir.join("worker")
}

/// Whether a daemon works in this directory.
pub(crate) fn is_taken(run_dir: &Path) -> bool {
    File::open(run_dir.join("lock"))
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// Where it is kept what has to be undone of IPVS.
pub(crate) fn ipvs_state(run_dir: &Path) -> PathBuf {
    run_dir.join("ipvs.json")
}

/// Makes the directory for what has to outlive a reboot.
pub(crate) fn make_state_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|source| Error::RunDir { path: path.to_owned(), source })
}
