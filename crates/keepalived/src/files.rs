//! The files that keepalived and we share, all in the run directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use kernel::address::VirtualAddress;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::outline::Outline;

/// Their names.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    run_dir: PathBuf,
}

/// How the names of the files of ranks begin.
const RANK: &str = "keepalived-rank-";

/// What the readiness file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    NotReady,
    Leaving,
}

/// An address that keepalived was given, for removal after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Given {
    pub(crate) interface: String,
    /// With its prefix length.
    pub(crate) address: String,
}

impl Files {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { run_dir: run_dir.to_owned() }
    }

    pub(crate) fn main(&self) -> PathBuf {
        self.run_dir.join("keepalived.conf")
    }

    pub(crate) fn virtual_servers(&self) -> PathBuf {
        self.run_dir.join("keepalived-virtualservers-generated.conf")
    }

    /// What k0s' template includes where there is one instance.
    fn consumed(&self) -> PathBuf {
        self.run_dir.join("keepalived-virtualservers-consumed.conf")
    }

    pub(crate) fn fifo(&self) -> PathBuf {
        self.run_dir.join("keepalived.fifo")
    }

    pub(crate) fn readiness(&self) -> PathBuf {
        self.run_dir.join("keepalived-readiness")
    }

    /// The rank of this node among the heirs of an instance.
    pub(crate) fn rank(&self, instance: &str) -> PathBuf {
        self.run_dir.join(format!("{RANK}{instance}"))
    }

    /// The addresses given.
    fn given(&self) -> PathBuf {
        self.run_dir.join("keepalived-addresses.json")
    }

    /// Where keepalived was given IPVS services, which carry no mark.
    fn services(&self) -> PathBuf {
        self.run_dir.join("keepalived-services.json")
    }

    /// Of keepalived itself, its speaker of VRRP, its checker and its speaker of BFD.
    pub(crate) fn pids(&self) -> [PathBuf; 4] {
        ["keepalived.pid", "keepalived-vrrp.pid", "keepalived-checkers.pid", "keepalived-bfd.pid"]
            .map(|name| self.run_dir.join(name))
    }

    /// What has to be there before keepalived starts, and what must not.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        self.remove_pids()?;
        let fifo = self.fifo();
        remove(&fifo)?;
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .map_err(|errno| Error::file(fifo)(errno.into()))
    }

    pub(crate) fn write_main(&self, text: &str) -> Result<(), Error> {
        write(&self.main(), text, 0o400)
    }

    pub(crate) fn write_virtual_servers(&self, text: &str) -> Result<(), Error> {
        write(&self.virtual_servers(), text, 0o400)?;
        let consumed = self.consumed();
        if fs::symlink_metadata(&consumed).is_err() {
            symlink("keepalived-virtualservers-generated.conf", &consumed)
                .map_err(Error::file(consumed))?;
        }
        Ok(())
    }

    pub(crate) fn write_readiness(&self, readiness: Readiness) -> Result<(), Error> {
        write(&self.readiness(), &format!("{}\n", readiness.value()), 0o600)
    }

    pub(crate) fn write_rank(&self, instance: &str, rank: u8) -> Result<(), Error> {
        write(&self.rank(instance), &format!("{rank}\n"), 0o600)
    }

    /// Turns "ready" into "not ready"; whether it said so. For the watchdog, whose new file has
    /// another name than the daemon's.
    pub(crate) fn overrule_readiness(&self) -> Result<bool, Error> {
        let path = self.readiness();
        let ready = Readiness::Ready.value().to_string();
        // Without the file nobody holds anything.
        if fs::read_to_string(&path).map_or(true, |word| word.trim() != ready) {
            return Ok(false);
        }
        let word = format!("{}\n", Readiness::NotReady.value());
        replace(&path, &self.beside_readiness(), &word, 0o600)?;
        Ok(true)
    }

    fn beside_readiness(&self) -> PathBuf {
        self.run_dir.join("keepalived-readiness.watchdog")
    }

    pub(crate) fn write_given(&self, given: &[Given]) -> Result<(), Error> {
        write_list(&self.given(), given)
    }

    /// Empty where there is no such file; one that cannot be understood is an error.
    pub(crate) fn read_given(&self) -> Result<Vec<Given>, Error> {
        read_list(&self.given())
    }

    pub(crate) fn write_services(&self, services: &[SocketAddr]) -> Result<(), Error> {
        write_list(&self.services(), services)
    }

    /// As [`Files::read_given`].
    pub(crate) fn read_services(&self) -> Result<Vec<SocketAddr>, Error> {
        read_list(&self.services())
    }

    /// What keepalived itself leaves when it is killed, and would take for a living process.
    fn remove_pids(&self) -> Result<(), Error> {
        self.pids().iter().try_for_each(|path| remove(path))
    }

    /// Of whatever instances there were.
    fn remove_ranks(&self) -> Result<(), Error> {
        // A directory that is not there holds none.
        let Ok(entries) = fs::read_dir(&self.run_dir) else { return Ok(()) };
        let paths = entries
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(RANK.as_bytes()));
        paths.map(|entry| entry.path()).try_for_each(|path| remove(&path))
    }

    /// Everything, with what keepalived was given last.
    pub(crate) fn remove_all(&self) -> Result<(), Error> {
        self.remove_pids()?;
        let files = [
            self.fifo(),
            self.readiness(),
            self.beside_readiness(),
            self.consumed(),
            self.virtual_servers(),
            self.main(),
        ];
        files.iter().try_for_each(|path| remove(path))?;
        self.remove_ranks()?;
        remove(&self.services())?;
        remove(&self.given())
    }
}

impl Readiness {
    pub(crate) fn value(self) -> i64 {
        match self {
            Self::Ready => 0,
            Self::NotReady => 1,
            Self::Leaving => 2,
        }
    }
}

impl Given {
    /// Every address of the instances.
    pub(crate) fn all(outlines: &[Outline]) -> Vec<Self> {
        let pairs = outlines.iter().flat_map(|outline| {
            outline.addresses.iter().map(|address| (&outline.interface, address))
        });
        pairs
            .map(|(interface, address)| Self {
                interface: interface.clone(),
                address: address.to_string(),
            })
            .collect()
    }

    pub(crate) fn virtual_address(&self) -> Option<VirtualAddress> {
        self.address.parse().ok()
    }
}

fn write_list<T: Serialize>(path: &Path, list: &[T]) -> Result<(), Error> {
    let text = serde_json::to_string(list).map_err(|error| Error::file(path)(error.into()))?;
    write(path, &text, 0o600)
}

fn read_list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file(path)(error)),
    };
    serde_json::from_str(&text).map_err(|error| Error::file(path)(error.into()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    replace(path, Path::new(&beside), text, mode)
}

/// Written beside and renamed: a reader finds the old text or the new one.
fn replace(path: &Path, beside: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let put = || -> io::Result<()> {
        remove_file(beside)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(beside, path)
    };
    put().map_err(Error::file(path))
}

fn remove(path: &Path) -> Result<(), Error> {
    remove_file(path).map_err(Error::file(path))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_configuration_holds_a_password_and_is_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        for text in ["first", "second"] {
            files.write_main(text).unwrap();
            assert_eq!(fs::read_to_string(files.main()).unwrap(), text);
        }
        assert_eq!(fs::metadata(files.main()).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_file_that_k0s_templates_include_is_the_one_we_write() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        files.write_virtual_servers("first").unwrap();
        files.write_virtual_servers("second").unwrap();
        assert_eq!(fs::read_to_string(files.consumed()).unwrap(), "second");
    }

    #[test]
    fn what_was_given_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        assert_eq!(files.read_given().unwrap(), []);
        let given = [Given { interface: "eth0".into(), address: "10.0.0.100/24".into() }];
        files.write_given(&given).unwrap();
        assert_eq!(files.read_given().unwrap(), given);
        fs::write(files.given(), "{").unwrap();
        assert!(files.read_given().is_err());

        assert_eq!(files.read_services().unwrap(), []);
        let services = ["10.0.0.100:6443", "[fd00::100]:6443"].map(|it| it.parse().unwrap());
        files.write_services(&services).unwrap();
        assert_eq!(files.read_services().unwrap(), services);
    }

    #[test]
    fn nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::new(directory.path());
        files.prepare().unwrap();
        files.write_main("").unwrap();
        files.write_virtual_servers("").unwrap();
        files.write_readiness(Readiness::NotReady).unwrap();
        files.write_given(&[]).unwrap();
        files.write_services(&[]).unwrap();
        files.write_rank("cplb-vip-0", 1).unwrap();
        fs::write(&files.pids()[1], "1").unwrap();
        files.remove_all().unwrap();
        files.remove_all().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
