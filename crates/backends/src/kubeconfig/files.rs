//! Whether files have changed since they were read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;

/// Files, and what they were like when they were noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files(Vec<(PathBuf, Option<State>)>);

/// What changes whenever a file is written or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Files {
    /// Notes `path` as it is now. To be done before it is read, so that a change in between counts.
    pub(crate) fn note(&mut self, path: &Path) {
        self.0.push((path.to_owned(), State::of(path)));
    }

    /// Notes the certificates and keys that `kubeconfig` names by path. A token file is left out:
    /// the client re-reads it by itself.
    pub(crate) fn note_named_by(&mut self, kubeconfig: &Kubeconfig) {
        for cluster in kubeconfig.clusters.iter().filter_map(|it| it.cluster.as_ref()) {
            self.note_if_named(&cluster.certificate_authority);
        }
        for user in kubeconfig.auth_infos.iter().filter_map(|it| it.auth_info.as_ref()) {
            self.note_if_named(&user.client_certificate);
            self.note_if_named(&user.client_key);
        }
    }

    /// The same files as they are now.
    pub(crate) fn now(&self) -> Self {
        Self(self.0.iter().map(|(path, _)| (path.clone(), State::of(path))).collect())
    }

    fn note_if_named(&mut self, path: &Option<String>) {
        if let Some(path) = path {
            self.note(Path::new(path));
        }
    }
}

impl State {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { inode: metadata.ino(), size: metadata.size(), modified })
    }
}
