//! Envoy or Traefik as a static pod: its files, kept in line with the apiservers.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::doors::Doors;
use crate::envoy;
use crate::error::Error;
use crate::files::{self, Form};
use crate::leaving::Leaving;
use crate::manifests::Manifests;
use crate::pod::{Engine, Image, PullPolicy};
use crate::presence::Presence;
use crate::record::{Record, manifest_file, manifest_files};

/// What is to run, and where it finds its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What runs in the pod.
    pub engine: Engine,
    /// The image.
    pub image: Image,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Where it listens.
    pub doors: Doors,
    /// The directory above those of the engines, 0700: `/run/cplb/worker/nllb`. Absolute, since the
    /// kubelet looks for it as well.
    pub directory: PathBuf,
    /// The kubelet's directory of manifests (its `staticPodPath`).
    pub manifest_directory: Option<PathBuf>,
}

/// As k0s has them: everybody may read, nobody writes.
const READ_ONLY: u32 = 0o444;

/// The files of a static pod. They stay when this is dropped, so that a restart cuts nobody off;
/// [`Deployment::leave`] lets the pod end.
#[derive(Debug)]
pub struct Deployment {
    record: Record,
    labelled: bool,
    written: Option<BTreeSet<SocketAddr>>,
}

impl Deployment {
    /// Makes the directories. The pod starts with the first [`Deployment::update`]; or it is one that
    /// is there, if that can become what is wanted without an end.
    ///
    /// # Errors
    /// When a directory cannot be made or that of the manifests does not exist.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        if let Some(path) = &settings.manifest_directory
            && !path.is_dir()
        {
            return Err(Error::NoManifestDirectory { path: path.clone() });
        }
        let labelled = files::has_selinux();
        files::make_folder(&settings.directory, Form { mode: 0o700, labelled })?;
        let known = Record::all(&settings.directory)?;
        let same = known.iter().find_map(|it| it.becoming(&settings));
        let record = match &same {
            Some(record) => record.clone(),
            None => Record::new(free_number(&settings, &known)?, settings),
        };
        files::make_folder(&record.folder(), Form { mode: 0o755, labelled })?;
        if same.is_some() {
            // Nobody ends it any more, if it was to leave.
            record.save()?;
        }
        Ok(Self { record, labelled, written: None })
    }

    /// Those that an earlier run has left serving.
    ///
    /// # Errors
    /// When what is known of them cannot be read.
    pub fn all(directory: &Path) -> Result<Vec<Self>, Error> {
        let serving = Record::all(directory)?.into_iter().filter(|it| it.left.is_none());
        let labelled = files::has_selinux();
        Ok(serving.map(|record| Self { record, labelled, written: None }).collect())
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.record.settings
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.record.pod()
    }

    pub(crate) fn number(&self) -> u32 {
        self.record.number
    }

    /// What is seen of it.
    pub fn presence(&self) -> Presence {
        self.record.presence()
    }

    /// Whether it can listen where others do.
    pub fn can_share(&self) -> bool {
        self.settings().engine.can_share(&self.settings().image)
    }

    /// Makes these the apiservers behind the balancer, and the pod exist. An empty list changes
    /// nothing: the apiservers of before are the better guess.
    ///
    /// # Errors
    /// When a file cannot be written. What was written before stands.
    pub fn update(
        &mut self,
        apiservers: &BTreeSet<SocketAddr>,
        manifests: &Manifests,
    ) -> Result<(), Error> {
        if apiservers.is_empty() || self.written.as_ref() == Some(apiservers) {
            return Ok(());
        }
        if self.written.is_none() {
            self.record.save()?;
        }
        let Settings { engine, image, doors, .. } = self.settings();
        for part in engine.files(doors, apiservers, image) {
            files::put_changed(&self.record.folder().join(part.name), &part.text, self.form())?;
        }
        if self.written.is_none() {
            self.record.publish(manifests)?;
        }
        self.written = Some(apiservers.clone());
        Ok(())
    }

    /// Names the listeners once more. Envoy tries an address that was in use no second time by
    /// itself, and does then.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn offer_again(&self) -> Result<(), Error> {
        let Settings { engine, doors, .. } = self.settings();
        if *engine != Engine::Envoy || self.written.is_none() {
            return Ok(());
        }
        let path = self.record.folder().join(envoy::LISTENERS_FILE);
        files::put(&path, &envoy::listeners(doors), self.form())
    }

    /// Lets the pod close its listeners, and end with its last connection. Nothing leaves if it never
    /// came to be.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn leave(self, manifests: &Manifests) -> Result<Option<Leaving>, Error> {
        if !self.record.file().exists() {
            return self.record.remove_files().map(|()| None);
        }
        Leaving::begin(self.record, manifests).map(Some)
    }

    fn form(&self) -> Form {
        Form { mode: READ_ONLY, labelled: self.labelled }
    }
}

impl Record {
    /// This pod with those settings, if to the kubelet it is the same then. Traefik reads its ports
    /// only once, and one that was told to end ends.
    fn becoming(&self, settings: &Settings) -> Option<Self> {
        let wanted = Self::new(self.number, settings.clone());
        let listens = settings.engine == Engine::Envoy
            || (self.left.is_none() && self.settings.doors == settings.doors);
        let same =
            self.manifest == wanted.manifest && self.manifest_file() == wanted.manifest_file();
        (same && listens).then(|| Self { listened: &self.listened | &wanted.listened, ..wanted })
    }
}

/// A number that no pod has. After a restart of the machine the manifests alone are left: the one of
/// a pod that is wanted as it was gives its number, so that the kubelet need not start two.
fn free_number(settings: &Settings, known: &[Record]) -> Result<u32, Error> {
    let mut last = known.last().map_or(0, |it| it.number);
    let directory = settings.manifest_directory.as_deref().map(manifest_file);
    for (number, path) in directory.map_or(Ok(Vec::new()), |it| manifest_files(&it))? {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let manifest = serde_json::from_str::<Value>(&text).ok();
        let is_known = known.iter().any(|it| it.number == number);
        let wanted = Record::new(number, settings.clone()).manifest;
        if !is_known && manifest.is_some_and(|it| it == wanted) {
            return Ok(number);
        }
        last = last.max(number);
    }
    Ok(last + 1)
}

#[cfg(test)]
mod tests;
