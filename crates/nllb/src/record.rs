//! What is known of a pod besides its files. It lies beside their directory, so that another run finds
//! which pods there are, and which of them are about to go.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deployment::Settings;
use crate::error::Error;
use crate::files::{self, Form};
use crate::manifests::Manifests;
use crate::pod;
use crate::presence::Presence;

/// A pod. Several may be there while one takes another's place, so they are numbered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) number: u32,
    pub(crate) settings: Settings,
    /// As the kubelet was given it: it stays the same to the letter.
    pub(crate) manifest: Value,
    /// Wherever it has listened.
    pub(crate) listened: BTreeSet<SocketAddr>,
    /// When it was told to leave, in seconds of the Unix epoch.
    pub(crate) left: Option<u64>,
}

/// The manifest of the first pod, in the kubelet's directory.
const MANIFEST: &str = "cplb-nllb";
const EXTENSION: &str = "json";

impl Record {
    /// Of a pod that is not there yet.
    pub(crate) fn new(number: u32, settings: Settings) -> Self {
        let Settings { engine, image, pull_policy, doors, .. } = &settings;
        let folder = settings.directory.join(numbered(settings.engine.folder(), number));
        let name = numbered(pod::NAME, number);
        let manifest = pod::manifest(&name, *engine, image, *pull_policy, doors, &folder);
        let listened = doors.addresses();
        Self { number, settings, manifest, listened, left: None }
    }

    /// All that are kept below this directory, in the order of their numbers. A damaged one says
    /// nothing any more.
    pub(crate) fn all(directory: &Path) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for path in entries(directory)? {
            if path.extension() != Some(OsStr::new(EXTENSION)) {
                continue;
            }
            let read = |source| Error::Read { path: path.clone(), source };
            let text = fs::read_to_string(&path).map_err(read)?;
            all.extend(serde_json::from_str::<Self>(&text).ok());
        }
        all.sort_by_key(|it| it.number);
        Ok(all)
    }

    /// The name of the pod.
    pub(crate) fn pod(&self) -> String {
        numbered(pod::NAME, self.number)
    }

    /// The directory of its files.
    pub(crate) fn folder(&self) -> PathBuf {
        self.settings.directory.join(numbered(self.settings.engine.folder(), self.number))
    }

    /// What is seen of it.
    pub(crate) fn presence(&self) -> Presence {
        Presence {
            folder: self.folder(),
            mounted_at: self.settings.engine.container_folder(),
            doors: self.settings.doors.addresses(),
            listened: self.listened.clone(),
        }
    }

    /// Where the kubelet finds it, if by a directory.
    pub(crate) fn manifest_file(&self) -> Option<PathBuf> {
        let directory = self.settings.manifest_directory.as_ref()?;
        Some(directory.join(numbered(MANIFEST, self.number)).with_extension(EXTENSION))
    }

    /// Where this is kept.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder().with_extension(EXTENSION)
    }

    pub(crate) fn save(&self) -> Result<(), Error> {
        let path = self.file();
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| Error::write(&path)(error.into()))?;
        files::put_changed(&path, &(text + "\n"), Form { mode: 0o600, labelled: false })
    }

    /// Gives the pod to the kubelet.
    pub(crate) fn publish(&self, manifests: &Manifests) -> Result<(), Error> {
        if let Some(path) = self.manifest_file() {
            let text = format!("{:#}\n", self.manifest);
            files::put_changed(&path, &text, Form { mode: 0o600, labelled: false })?;
        }
        manifests.offer(self.pod(), self.manifest.clone());
        Ok(())
    }

    /// Takes the pod from the kubelet, which ends it.
    pub(crate) fn withdraw(&self, manifests: &Manifests) -> Result<(), Error> {
        manifests.withdraw(&self.pod());
        self.manifest_file().map_or(Ok(()), |path| files::remove(&path))
    }

    /// Removes its files, and what is known of it.
    pub(crate) fn remove_files(&self) -> Result<(), Error> {
        let folder = self.folder();
        let names = self.settings.engine.file_names().iter();
        names.map(|name| folder.join(name)).try_for_each(|path| files::remove(&path))?;
        files::remove_empty(&folder)?;
        files::remove(&self.file())
    }
}

/// Where the manifest of the first pod lies in this directory of manifests.
pub fn manifest_file(directory: &Path) -> PathBuf {
    directory.join(MANIFEST).with_extension(EXTENSION)
}

/// The manifests that may be of pods of cplb beside this one, that of the first, and their numbers.
pub(crate) fn manifest_files(first: &Path) -> Result<Vec<(u32, PathBuf)>, Error> {
    let directory = first.parent().unwrap_or(Path::new("."));
    let number = |path: PathBuf| Some((number_of(path.file_stem()?.to_str()?, MANIFEST)?, path));
    let is_json = |path: &PathBuf| path.extension() == Some(OsStr::new(EXTENSION));
    let mut files: Vec<_> =
        entries(directory)?.into_iter().filter(is_json).filter_map(number).collect();
    files.sort();
    Ok(files)
}

/// What is in the directory; nothing if there is none.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    };
    read().map_err(|source| Error::Read { path: directory.to_owned(), source })
}

/// The first has the plain name, which is that of k0s.
fn numbered(name: &str, number: u32) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}-{number}") }
}

/// Which number [`numbered`] has put behind the name.
pub(crate) fn number_of(numbered: &str, name: &str) -> Option<u32> {
    match numbered.strip_prefix(name)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok().filter(|it| *it > 1),
    }
}

#[cfg(test)]
mod tests;
