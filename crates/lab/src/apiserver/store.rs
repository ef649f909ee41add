//! What the replicas share, in place of etcd: leases that expire, and the numbered revisions of the endpoints.
//!
//! A revision is a file of its own, named by its number. It is written aside and hard-linked into place, which fails
//! when another replica took the number first: a compare-and-swap without a lock, so that a replica frozen at the
//! worst moment stops nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// As kube-apiserver's lease reconciler.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(15);
/// A watch may resume from this many revisions back; older ones are 410 Gone.
const KEPT_REVISIONS: usize = 64;

/// The shared directory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    leases: PathBuf,
    revisions: PathBuf,
}

/// The endpoints at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revision {
    /// The resource version: grows by one with each change, the same for all replicas.
    #[serde(skip)]
    pub(super) number: u64,
    /// When the first revision was made, seconds since 1970.
    pub(super) created: u64,
    pub(super) endpoints: BTreeSet<SocketAddr>,
}

#[derive(Serialize, Deserialize)]
struct Lease {
    address: SocketAddr,
    /// Milliseconds since 1970.
    expires: u128,
}

impl Store {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let store =
            Self { leases: directory.join("leases"), revisions: directory.join("revisions") };
        fs::create_dir_all(&store.leases)?;
        fs::create_dir_all(&store.revisions)?;
        Ok(store)
    }

    pub(super) fn renew_lease(
        &self,
        name: &str,
        address: SocketAddr,
        now: SystemTime,
    ) -> io::Result<()> {
        let lease = Lease { address, expires: milliseconds(now + LEASE_TTL) };
        let aside = self.leases.join(format!(".{name}"));
        fs::write(&aside, serde_json::to_vec(&lease)?)?;
        fs::rename(aside, self.leases.join(name))
    }

    pub(super) fn remove_lease(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.leases.join(name))
    }

    /// Makes a new revision if the live leases differ from the latest one.
    pub(super) fn publish(&self, now: SystemTime) -> io::Result<()> {
        loop {
            let endpoints = self.live(now)?;
            let latest = self.latest()?;
            if latest.as_ref().is_some_and(|latest| latest.endpoints == endpoints) {
                return Ok(());
            }
            let next = match latest {
                Some(latest) => Revision { number: latest.number + 1, endpoints, ..latest },
                None => {
                    let created = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                    Revision { number: 1, created, endpoints }
                }
            };
            if self.try_append(&next)? {
                return self.prune();
            }
        }
    }

    /// The newest revision's number; 0 before the first.
    pub(super) fn latest_number(&self) -> io::Result<u64> {
        Ok(self.numbers()?.last().copied().unwrap_or(0))
    }

    pub(super) fn latest(&self) -> io::Result<Option<Revision>> {
        match self.latest_number()? {
            0 => Ok(None),
            number => self.read(number).map(Some),
        }
    }

    /// The revisions newer than `number`, oldest first; `None` when some of them are no longer kept.
    pub(super) fn after(&self, number: u64) -> io::Result<Option<Vec<Revision>>> {
        let numbers = self.numbers()?;
        if numbers.first().is_some_and(|oldest| number.saturating_add(1) < *oldest) {
            return Ok(None);
        }
        let newer = numbers.into_iter().filter(|kept| *kept > number);
        match newer.map(|kept| self.read(kept)).collect() {
            Ok(revisions) => Ok(Some(revisions)),
            // Pruned by another replica since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn live(&self, now: SystemTime) -> io::Result<BTreeSet<SocketAddr>> {
        let now = milliseconds(now);
        let leases = visible_files(&self.leases)?;
        let mut live = BTreeMap::new();
        for (name, path) in leases {
            // A lease removed since the directory was listed is not live.
            let Ok(text) = fs::read(path) else { continue };
            let Ok(lease) = serde_json::from_slice::<Lease>(&text) else { continue };
            if lease.expires > now {
                live.insert(name, lease.address);
            }
        }
        Ok(live.into_values().collect())
    }

    fn try_append(&self, revision: &Revision) -> io::Result<bool> {
        let aside = self.revisions.join(format!(".{}", std::process::id()));
        fs::write(&aside, serde_json::to_vec(revision)?)?;
        let linked = fs::hard_link(&aside, self.path(revision.number));
        fs::remove_file(aside)?;
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn prune(&self) -> io::Result<()> {
        let numbers = self.numbers()?;
        let surplus = numbers.len().saturating_sub(KEPT_REVISIONS);
        for number in &numbers[..surplus] {
            match fs::remove_file(self.path(*number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn read(&self, number: u64) -> io::Result<Revision> {
        let revision: Revision = serde_json::from_slice(&fs::read(self.path(number))?)?;
        Ok(Revision { number, ..revision })
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let files = visible_files(&self.revisions)?;
        let mut numbers: Vec<u64> =
            files.into_iter().filter_map(|(name, _)| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.revisions.join(number.to_string())
    }
}

fn visible_files(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            files.push((name, entry.path()));
        }
    }
    Ok(files)
}

fn milliseconds(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}
