//! The worker's daemon, if this node has one.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::daemon::{self, Worker};
use super::ports;
use super::{Daemon, Finding};
use crate::error::Error;

#[cfg(test)]
mod tests;

const CHECK: &str = "worker";
/// Where the apiserver of a controller listens.
const API_PORT: u16 = 6443;

/// What its status says that should not be so. Nothing, where there is none: controllers need none.
pub(crate) fn check(asked: &Result<Daemon, Error>) -> Vec<Finding> {
    let status = match asked {
        Ok(daemon) => &daemon.status,
        Err(Error::NotRunning { source, .. }) => {
            return absent(source.kind()).into_iter().collect();
        }
        Err(error) => return vec![Finding::skipped(CHECK, error.to_string())],
    };
    let mut findings = Vec::new();
    if let Some(Worker { doors, unreached: Some(reason) }) = &status.worker {
        let doors = list(doors);
        findings.push(match status.ready {
            true => Finding::warning(CHECK, format!("the last try at {doors} failed: {reason}"))
                .because("clients on this node may be waiting"),
            false => Finding::error(CHECK, format!("no apiserver answers at {doors}: {reason}"))
                .because("kubelet and kube-proxy of this node are cut off")
                .advise("`cplb status` shows why each apiserver is out; with a static pod look at it too: `crictl ps -a --name nllb`"),
        });
    }
    if let Some(balancer) = &status.load_balancer {
        daemon::check_balancer(CHECK, balancer, &mut findings);
    }
    if findings.is_empty() {
        let doors = status.worker.iter().flat_map(|it| &it.doors).copied();
        let doors = list(&doors.collect::<Vec<_>>());
        let seen = format!("runs (pid {}), apiservers answer at {doors}", status.pid);
        findings.push(Finding::ok(CHECK, seen));
    }
    findings
}

/// Whether this node is a worker and nothing else: what its document says of virtual IPs is for
/// others then.
pub(crate) fn is_all(controller: &Result<Daemon, Error>, worker: &Result<Daemon, Error>) -> bool {
    worker.is_ok() && !daemon::may_run(controller) && ports::taken(&[API_PORT]).is_empty()
}

fn absent(kind: ErrorKind) -> Option<Finding> {
    match kind {
        ErrorKind::NotFound => None,
        ErrorKind::ConnectionRefused => Some(
            Finding::warning(CHECK, "`cplb worker` has run here and runs no more")
                .because("with type Builtin, kubelet and kube-proxy of this node are cut off")
                .advise("start it; if it is no longer wanted: `cplb cleanup --worker`"),
        ),
        ErrorKind::TimedOut => Some(
            Finding::error(CHECK, "the worker's daemon does not answer on its admin socket")
                .because("it hangs or is stopped, so the apiservers are not reached from here")
                .advise("look at its log, then restart it"),
        ),
        _ => Some(Finding::skipped(CHECK, format!("the worker's daemon cannot be asked: {kind}"))),
    }
}

fn list(doors: &[SocketAddr]) -> String {
    doors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
