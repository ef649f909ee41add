//! What has to be undone, on disk until it is: services carry no mark, and parameters do not tell
//! their earlier values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::Error;

/// Which layout of the file this is.
const VERSION: u32 = 1;

/// The file and what it says.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    pub(crate) content: Content,
}

/// Everything that is ours in the kernel, or may be. Written before the kernel is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    version: u32,
    /// Which start of the kernel it is about: the next one knows nothing of all this.
    boot: String,
    /// Where services are ours.
    pub(crate) services: BTreeSet<SocketAddr>,
    /// Parameters, by name.
    pub(crate) parameters: BTreeMap<String, Parameter>,
    /// Interfaces that were down.
    pub(crate) switched_on: BTreeSet<String>,
}

/// A kernel parameter that we changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameter {
    /// Its value before.
    pub(crate) before: String,
    /// The value that we gave it.
    pub(crate) ours: String,
}

impl State {
    /// Reads the file. One that is missing, damaged or from before a reboot says that nothing is
    /// ours.
    pub(crate) fn read(path: &Path) -> Self {
        let boot = boot();
        let empty = Content { version: VERSION, boot: boot.clone(), ..Content::default() };
        let content = match fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?)) {
            Ok(Content { version, .. }) if version != VERSION => {
                let path = path.display();
                warn!(%path, version, "another version wrote down what it changed for IPVS; going on without it");
                empty
            }
            Ok(content) if content.boot == boot => content,
            Ok(_) => empty,
            Err(error) if error.kind() == io::ErrorKind::NotFound => empty,
            Err(error) => {
                let path = path.display();
                warn!(%path, %error, "cannot read what was changed for IPVS; going on without it");
                empty
            }
        };
        Self { path: path.to_owned(), content }
    }

    /// Changes the content, on disk first, so that a crash at any moment leaves the old or the new.
    pub(crate) fn change(&mut self, edit: impl FnOnce(&mut Content)) -> Result<(), Error> {
        let mut changed = self.content.clone();
        edit(&mut changed);
        if changed == self.content && self.path.exists() {
            return Ok(());
        }
        self.write(&changed).map_err(|source| Error::State { path: self.path.clone(), source })?;
        self.content = changed;
        Ok(())
    }

    /// Removes the file: nothing is left to undo.
    pub(crate) fn forget(&mut self) {
        self.content = Content {
            version: VERSION,
            boot: std::mem::take(&mut self.content.boot),
            ..Content::default()
        };
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %self.path.display(), %error, "cannot remove the file");
        }
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(content)?;
        text.push(b'\n');
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut temporary = self.path.as_os_str().to_owned();
        temporary.push(".new");
        // No need to sync: a crash of the kernel ends what it is about as well.
        fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &self.path))
    }
}

/// A number that every start of the kernel has anew (random(4)).
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &Path) -> State {
        let mut state = State::read(path);
        state
            .change(|content| {
                content.services.insert("[fd00::100]:6443".parse().unwrap());
                let parameter = Parameter { before: "0".into(), ours: "1".into() };
                content.parameters.insert("net/ipv4/conf/eth0.7/arp_ignore".into(), parameter);
            })
            .unwrap();
        state
    }

    #[test]
    fn what_was_written_is_read_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/ipvs.json");
        let state = filled(&path);
        assert_eq!(State::read(&path).content, state.content);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_reboot_ends_what_it_is_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipvs.json");
        filled(&path);
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(boot.trim()));
        fs::write(&path, text.replace(boot.trim(), "4a6f6e9b-0000-4000-8000-000000000000"))
            .unwrap();
        assert!(State::read(&path).content.services.is_empty());
    }

    #[test]
    fn a_damaged_file_is_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ipvs.json");
        for damaged in ["", "{", "[]", "{\"version\":1}", "\u{0}\u{1}"] {
            fs::write(&path, damaged).unwrap();
            assert!(State::read(&path).content.services.is_empty(), "{damaged:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file/ipvs.json");
        fs::write(folder.path().join("file"), "in the way").unwrap();
        let mut state = State::read(&path);
        let error = state
            .change(|content| {
                content.switched_on.insert("tunl0".into());
            })
            .unwrap_err();
        assert!(error.to_string().contains("file/ipvs.json"), "{error}");
        assert!(state.content.switched_on.is_empty());
    }
}
