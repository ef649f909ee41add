//! Removes what a worker wrote that runs no more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;
use crate::kubeconfig;
use crate::pod::{self, Engine};

/// What became of a file that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was none.
    Absent,
    /// It does not carry the mark of cplb, so it is somebody else's by now, and stays.
    Foreign,
}

/// Removes the manifest of a pod, which ends the pod.
///
/// # Errors
/// When it cannot be read or removed.
pub fn remove_manifest(path: &Path) -> Result<Removal, Error> {
    remove(path, pod::is_ours)
}

/// Removes a kubeconfig that leads through the balancer.
///
/// # Errors
/// When it cannot be read or removed.
pub fn remove_kubeconfig(path: &Path) -> Result<Removal, Error> {
    remove(path, kubeconfig::is_ours)
}

/// Removes the files of Envoy and Traefik below their common directory, and the directories that are
/// empty then; which files there were.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_pod_files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut removed = Vec::new();
    for engine in [Engine::Envoy, Engine::Traefik] {
        let folder = directory.join(engine.folder());
        for path in engine.file_names().iter().map(|name| folder.join(name)) {
            // One that a crash left half written.
            files::remove(&files::temporary(&path))?;
            if path.exists() {
                files::remove(&path)?;
                removed.push(path);
            }
        }
        remove_empty(&folder)?;
    }
    remove_empty(directory)?;
    Ok(removed)
}

fn remove(path: &Path, is_ours: impl Fn(&str) -> bool) -> Result<Removal, Error> {
    files::remove(&files::temporary(path))?;
    match fs::read_to_string(path) {
        Ok(text) if is_ours(&text) => files::remove(path).map(|()| Removal::Removed),
        Ok(_) => Ok(Removal::Foreign),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removal::Absent),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Removal::Foreign),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn remove_empty(directory: &Path) -> Result<(), Error> {
    match fs::remove_dir(directory) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(Error::Remove { path: directory.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
