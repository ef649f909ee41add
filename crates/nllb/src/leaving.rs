//! A pod whose place is taken: it listens no more, and ends when its last connection has.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::envoy;
use crate::error::Error;
use crate::files::{self, Form};
use crate::manifests::Manifests;
use crate::pod::{DRAIN_SECONDS, Engine};
use crate::record::Record;

/// A pod that is about to end. Envoy closes its listeners at a word, so it stays with the kubelet until
/// it is idle. Traefik does so only when it is told to end, so the kubelet tells it at once, and waits.
#[derive(Debug)]
pub struct Leaving {
    record: Record,
}

impl Leaving {
    /// Those that an earlier run has told to leave.
    ///
    /// # Errors
    /// When what is known of them cannot be read, or a file cannot be written.
    pub fn all(directory: &Path, manifests: &Manifests) -> Result<Vec<Self>, Error> {
        let left = Record::all(directory)?.into_iter().filter(|it| it.left.is_some());
        left.map(|record| Self::tell(record, manifests)).collect()
    }

    /// Notes it, and tells the pod.
    pub(crate) fn begin(record: Record, manifests: &Manifests) -> Result<Self, Error> {
        let record = Record { left: Some(now()), ..record };
        record.save()?;
        Self::tell(record, manifests)
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.record.pod()
    }

    /// What runs in it.
    pub fn engine(&self) -> Engine {
        self.record.settings.engine
    }

    /// How many connections it still has, if it is to leave at all: it may have been taken back. Not
    /// to be asked before it had time to close its listeners.
    ///
    /// # Errors
    /// When what is known of it cannot be read.
    pub fn connections(&self) -> Result<Option<usize>, Error> {
        let known = Record::all(&self.record.settings.directory)?;
        Ok(known.contains(&self.record).then(|| self.record.presence().connections()))
    }

    /// Whether its time is over. It has ended its connections by itself.
    pub fn is_late(&self) -> bool {
        now().saturating_sub(self.record.left.unwrap_or_default()) > DRAIN_SECONDS
    }

    /// Ends it and removes its files.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove(&self, manifests: &Manifests) -> Result<(), Error> {
        self.record.withdraw(manifests)?;
        self.record.remove_files()
    }

    fn tell(record: Record, manifests: &Manifests) -> Result<Self, Error> {
        match record.settings.engine {
            Engine::Envoy => {
                let path = record.folder().join(envoy::LISTENERS_FILE);
                let form = Form { mode: 0o444, labelled: files::has_selinux() };
                files::put_changed(&path, envoy::NO_LISTENERS, form)?;
                record.publish(manifests)?;
            }
            Engine::Traefik => record.withdraw(manifests)?,
        }
        Ok(Self { record })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}
