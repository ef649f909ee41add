//! Removes what a worker wrote that runs no more.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::deployment::Deployment;
use crate::error::Error;
use crate::files;
use crate::kubeconfig;
use crate::pod::{self, Engine};
use crate::record::{Record, entries, manifest_file, manifest_files, number_of};

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

/// Removes the manifest of a pod and those of all that were to take its place, which ends them; what
/// became of each.
///
/// # Errors
/// When one cannot be read or removed.
pub fn remove_manifests(first: &Path) -> Result<Vec<(PathBuf, Removal)>, Error> {
    files::remove(&files::temporary(first))?;
    let all = manifest_files(first)?.into_iter();
    all.map(|(_, path)| remove(&path, pod::is_ours).map(|removal| (path, removal))).collect()
}

/// Removes the manifests in the kubelet's directory whose pods have their files below this one and are
/// not known there, except of this pod: the machine has started again since.
///
/// # Errors
/// When one cannot be read or removed.
pub fn remove_orphans(
    directory: &Path,
    manifests: &Path,
    except: Option<&Deployment>,
) -> Result<(), Error> {
    let known = Record::all(directory)?;
    let except = except.map(Deployment::number);
    for (number, path) in manifest_files(&manifest_file(manifests))? {
        let is_known = except == Some(number) || known.iter().any(|it| it.number == number);
        if !is_known {
            remove(&path, |text| pod::is_of(text, directory))?;
        }
    }
    Ok(())
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
        let is_its = |path: &PathBuf| {
            let name = path.file_stem().and_then(OsStr::to_str);
            name.is_some_and(|name| number_of(name, engine.folder()).is_some())
        };
        let (folders, records): (Vec<_>, Vec<_>) =
            entries(directory)?.into_iter().filter(is_its).partition(|it| it.is_dir());
        for folder in &folders {
            for path in engine.file_names().iter().map(|name| folder.join(name)) {
                // One that a crash left half written.
                files::remove(&files::temporary(&path))?;
                if path.exists() {
                    files::remove(&path)?;
                    removed.push(path);
                }
            }
            files::remove_empty(folder)?;
        }
        for record in records {
            files::remove(&files::temporary(&record))?;
            files::remove(&record)?;
        }
    }
    files::remove_empty(directory)?;
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

#[cfg(test)]
mod tests;
