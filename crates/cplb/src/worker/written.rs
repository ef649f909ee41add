//! What a worker has written that outlives it, named in its state directory before it is written:
//! `cplb cleanup --worker` goes by it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nllb::Removal;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Absolute names, of this run and of those before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Written {
    /// Which lead through the balancer.
    pub(crate) kubeconfigs: BTreeSet<PathBuf>,
    /// In the kubelet's directory.
    pub(crate) manifests: BTreeSet<PathBuf>,
    /// The directories above those of Envoy and Traefik.
    pub(crate) pods: BTreeSet<PathBuf>,
}

const FILE: &str = "written.json";

impl Written {
    /// Notes that these may be there from now on, besides those noted before.
    pub(crate) fn note(mut self, state_dir: &Path) -> Result<(), Error> {
        let before = Self::read(state_dir).unwrap_or_else(|error| {
            tracing::warn!(%error, "what an earlier run wrote is not known, so no clean-up removes it");
            Self::default()
        });
        self.kubeconfigs.extend(before.kubeconfigs);
        self.manifests.extend(before.manifests);
        self.pods.extend(before.pods);
        let text = serde_json::to_string_pretty(&self).map_err(io::Error::from)?;
        Ok(nllb::write_private(&state_dir.join(FILE), &(text + "\n"))?)
    }

    /// What was noted.
    fn read(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(FILE);
        let read = || -> io::Result<Self> {
            match fs::read_to_string(&path) {
                Ok(text) => Ok(serde_json::from_str(&text)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
                Err(error) => Err(error),
            }
        };
        read().map_err(|source| Error::Unreadable { path: path.clone(), source })
    }
}

/// Removes what was noted, the manifest first, since it ends the pod; what became of it, in words.
pub(crate) fn remove(state_dir: &Path) -> Result<Vec<String>, Error> {
    let written = Written::read(state_dir)?;
    let mut told = Vec::new();
    for first in &written.manifests {
        let removed = nllb::remove_manifests(first)?;
        told.extend(removed.iter().filter_map(|(path, it)| tell("the manifest", path, *it)));
    }
    for directory in &written.pods {
        let removed = nllb::remove_pod_files(directory)?;
        told.extend(removed.iter().filter_map(|it| tell("the file", it, Removal::Removed)));
    }
    for path in &written.kubeconfigs {
        told.extend(tell("the kubeconfig", path, nllb::remove_kubeconfig(path)?));
    }
    match fs::remove_file(state_dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(told),
    }
}

fn tell(what: &str, path: &Path, removal: Removal) -> Option<String> {
    let path = path.display();
    match removal {
        Removal::Removed => Some(format!("removed {what} {path}")),
        Removal::Foreign => {
            Some(format!("left {what} {path}: it does not carry the mark of cplb any more"))
        }
        Removal::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kubeconfig: &str) -> Written {
        Written { kubeconfigs: BTreeSet::from([kubeconfig.into()]), ..Written::default() }
    }

    #[test]
    fn what_earlier_runs_wrote_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        written("/run/a").note(folder.path()).unwrap();
        written("/etc/b").note(folder.path()).unwrap();
        let noted = Written::read(folder.path()).unwrap();
        assert_eq!(noted.kubeconfigs, BTreeSet::from(["/etc/b".into(), "/run/a".into()]));
    }

    #[test]
    fn a_damaged_note_stops_a_clean_up_and_no_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let refused = remove(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("written.json"), "{refused}");
        written("/run/a").note(folder.path()).unwrap();
        assert_eq!(Written::read(folder.path()).unwrap(), written("/run/a"));
    }
}
