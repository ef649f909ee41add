//! Envoy or Traefik as a static pod: its files, kept in line with the apiservers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::doors::Doors;
use crate::envoy;
use crate::error::Error;
use crate::files::{self, Form};
use crate::manifests::Manifests;
use crate::pod::{self, Engine, Image, PullPolicy};

/// What is to run, and where it finds its files.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The file in the manifest directory.
const MANIFEST_FILE: &str = "cplb-nllb.json";
/// As k0s has them: everybody may read, nobody writes.
const READ_ONLY: u32 = 0o444;

/// The files of a static pod. They stay when this is dropped, so that a restart cuts nobody off;
/// [`Deployment::remove`] takes them away.
#[derive(Debug)]
pub struct Deployment {
    settings: Settings,
    labelled: bool,
    written: Option<BTreeSet<SocketAddr>>,
}

impl Deployment {
    /// Makes the directories. The pod starts with the first [`Deployment::update`].
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
        let deployment = Self { settings, labelled, written: None };
        files::make_folder(&deployment.folder(), Form { mode: 0o755, labelled })?;
        Ok(deployment)
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
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
        let Settings { engine, image, doors, .. } = &self.settings;
        for part in engine.files(doors, apiservers, image) {
            files::put_changed(&self.folder().join(part.name), &part.text, self.form())?;
        }
        if self.written.is_none() {
            self.publish(manifests)?;
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
        let Settings { engine, doors, .. } = &self.settings;
        if *engine != Engine::Envoy || self.written.is_none() {
            return Ok(());
        }
        let path = self.folder().join(envoy::LISTENERS_FILE);
        files::put(&path, &envoy::listeners(doors), self.form())
    }

    /// Ends the pod and removes its files.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(self, manifests: &Manifests) -> Result<(), Error> {
        manifests.offer(None);
        if let Some(directory) = &self.settings.manifest_directory {
            files::remove(&directory.join(MANIFEST_FILE))?;
        }
        self.remove_files()
    }

    /// Removes the files alone: another engine's pod has taken the manifest over.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_files(self) -> Result<(), Error> {
        let names = self.settings.engine.file_names().iter();
        names.map(|name| self.folder().join(name)).try_for_each(|path| files::remove(&path))
    }

    fn publish(&self, manifests: &Manifests) -> Result<(), Error> {
        let manifest = self.manifest();
        if let Some(directory) = &self.settings.manifest_directory {
            let text = format!("{manifest:#}\n");
            let form = Form { mode: 0o600, labelled: false };
            files::put_changed(&directory.join(MANIFEST_FILE), &text, form)?;
        }
        manifests.offer(Some(manifest));
        Ok(())
    }

    fn manifest(&self) -> Value {
        let Settings { engine, image, pull_policy, doors, .. } = &self.settings;
        pod::manifest(*engine, image, *pull_policy, doors, &self.folder())
    }

    fn form(&self) -> Form {
        Form { mode: READ_ONLY, labelled: self.labelled }
    }

    fn folder(&self) -> PathBuf {
        self.settings.directory.join(self.settings.engine.folder())
    }
}

/// Where the manifest of a pod lies in this directory of manifests.
pub fn manifest_file(directory: &Path) -> PathBuf {
    directory.join(MANIFEST_FILE)
}

#[cfg(test)]
mod tests;
