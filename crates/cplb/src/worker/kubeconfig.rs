//! The kubeconfigs that lead through the balancer, kept in line with those they are made from.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::cli;
use crate::error::Error;

/// A kubeconfig and what is made from it.
#[derive(Clone, Debug)]
struct Copy {
    from: PathBuf,
    to: PathBuf,
    /// What it was made from last.
    made_from: Option<Made>,
    /// What was wrong last, so that it is said once.
    wrong: Option<String>,
}

/// What decides what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    door: SocketAddr,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// All of them.
pub(crate) struct Kubeconfigs {
    copies: Vec<Copy>,
    server_name: Option<String>,
}

/// How often it is looked whether a kubeconfig has changed.
const LOOK_EACH: Duration = Duration::from_secs(1);

impl Kubeconfigs {
    /// Those that the command line names. `run_dir` is where they are written to otherwise.
    pub(crate) fn new(arguments: &cli::Worker, run_dir: &Path) -> Result<Self, Error> {
        let copy = |from: &Path, to: PathBuf| Copy {
            from: from.to_owned(),
            to,
            made_from: None,
            wrong: None,
        };
        let to = arguments.write_kubeconfig.clone();
        let to = to.unwrap_or_else(|| run_dir.join("kubeconfig.yaml"));
        let mut copies = vec![copy(&arguments.kubeconfig, to)];
        if let Some(bootstrap) = &arguments.bootstrap_kubeconfig {
            copies.push(copy(bootstrap, run_dir.join("bootstrap-kubeconfig.yaml")));
        }
        for Copy { from, to, .. } in &copies {
            if std::path::absolute(from)? == std::path::absolute(to)? {
                return Err(Error::Unsupported(format!(
                    "{} is to be read and to be written: name another file by --write-kubeconfig",
                    to.display()
                )));
            }
        }
        Ok(Self { copies, server_name: arguments.tls_server_name.clone() })
    }

    /// Where they are written to.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.copies.iter().map(|it| it.to.clone()).collect()
    }

    /// Writes what is not there yet. Only what cannot be written is an error: what is wrong with a
    /// kubeconfig may be right soon.
    pub(crate) fn write(&mut self, door: SocketAddr) -> Result<(), Error> {
        let server_name = self.server_name.as_deref();
        self.copies.iter_mut().try_for_each(|it| it.update(door, server_name))
    }

    /// Keeps them in line for ever.
    pub(crate) async fn follow(mut self, doors: watch::Receiver<SocketAddr>) {
        loop {
            sleep(LOOK_EACH).await;
            let door = *doors.borrow();
            for copy in &mut self.copies {
                if let Err(error) = copy.update(door, self.server_name.as_deref()) {
                    copy.complain(error.to_string());
                }
            }
        }
    }
}

impl Copy {
    fn update(&mut self, door: SocketAddr, server_name: Option<&str>) -> Result<(), Error> {
        // One that does not exist yet is waited for, one that is gone may come back.
        let Some(made) = Made::now(&self.from, door) else { return Ok(()) };
        if self.made_from.as_ref() == Some(&made) {
            return Ok(());
        }
        let text = match std::fs::read_to_string(&self.from) {
            Ok(text) => text,
            Err(error) => {
                self.complain(format!("cannot read {}: {error}", self.from.display()));
                return Ok(());
            }
        };
        match nllb::through_balancer(&self.from, &text, door, server_name) {
            Ok(text) => {
                nllb::write_private(&self.to, &text)?;
                let (from, to) = (self.from.display(), self.to.display());
                tracing::info!(%from, %to, server = %door, "kubeconfig written");
                self.wrong = None;
                self.made_from = Some(made);
            }
            Err(error) => self.complain(error.to_string()),
        }
        Ok(())
    }

    fn complain(&mut self, error: String) {
        if self.wrong.as_ref() != Some(&error) {
            tracing::warn!(
                %error,
                "no kubeconfig is made from it; what was written before stays"
            );
        }
        self.wrong = Some(error);
    }
}

impl Made {
    fn now(from: &Path, door: SocketAddr) -> Option<Self> {
        let metadata = std::fs::metadata(from).ok()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { door, inode: metadata.ino(), size: metadata.size(), modified })
    }
}
