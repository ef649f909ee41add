//! What is seen of a pod at work: its processes and their sockets.
//!
//! A process belongs to a pod if the directory it sees where the container has its files is the
//! pod's, whatever runtime has started it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::pod;
use crate::sockets::{self, Socket};

/// A pod, wherever it listens or has listened.
#[derive(Clone, Debug)]
pub struct Presence {
    pub(crate) folder: PathBuf,
    /// Where the container sees the folder.
    pub(crate) mounted_at: &'static str,
    pub(crate) doors: BTreeSet<SocketAddr>,
    pub(crate) listened: BTreeSet<SocketAddr>,
}

impl Presence {
    /// Whether it listens at all of its doors.
    pub fn listens(&self) -> bool {
        let there = self.its(sockets::at(&self.doors)).filter(Socket::listens);
        there.map(|it| it.local).collect::<BTreeSet<_>>() == self.doors
    }

    /// How many connections go through it.
    pub fn connections(&self) -> usize {
        self.its(sockets::at(&self.listened)).filter(Socket::is_connected).count()
    }

    /// Those that are its own. Where this process may not look, all but those of this user.
    fn its(&self, sockets: Vec<Socket>) -> impl Iterator<Item = Socket> {
        let held = self.sockets();
        let own = rustix::process::geteuid().as_raw();
        sockets.into_iter().filter(move |it| match &held {
            Some(held) => held.contains(&it.inode),
            None => it.user != own,
        })
    }

    /// The inodes of all sockets that its processes hold; `None` where this process may not look.
    fn sockets(&self) -> Option<BTreeSet<u64>> {
        let folder = identity(&self.folder).ok();
        let mut held = BTreeSet::new();
        for process in fs::read_dir("/proc").ok()?.flatten() {
            let name = process.file_name();
            if !name.to_str()?.bytes().all(|it| it.is_ascii_digit()) {
                continue;
            }
            let seen = process.path().join("root").join(self.mounted_at.trim_start_matches('/'));
            match identity(&seen) {
                Ok(seen) if Some(seen) == folder => held.extend(inodes(&process.path())),
                Err(error) if is_hidden(&error, &process.path()) => return None,
                // It has no such directory, or has ended.
                _ => {}
            }
        }
        Some(held)
    }
}

/// Whether it may be a pod's, and this process may not look. Others' users have none.
fn is_hidden(error: &io::Error, process: &Path) -> bool {
    let user = fs::metadata(process).map(|it| it.uid());
    error.kind() == io::ErrorKind::PermissionDenied && user.is_ok_and(|it| it == pod::USER)
}

/// What tells a directory from every other, by whatever path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|it| (it.dev(), it.ino()))
}

/// Of the sockets of a process; it may end meanwhile.
fn inodes(process: &Path) -> impl Iterator<Item = u64> {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        inode.parse().ok()
    })
}
