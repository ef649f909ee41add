//! The process that this one succeeds, as this one sees it.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use kernel::redirect;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SocketType};
use vip::Service;

use super::{FORM, Legacy, PREDECESSOR, RedirectBy, Word, line};
use crate::balancer;
use crate::error::Error;

/// The line to it.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor(Arc<OwnedFd>);

/// What it leaves.
pub(crate) struct Inheritance {
    /// Where the virtual routers come.
    pub(crate) relay: OwnedFd,
    pub(crate) lock: OwnedFd,
    /// The admin server's listening sockets.
    pub(crate) admin: Vec<OwnedFd>,
    pub(crate) balancer: balancer::Legacy,
    pub(crate) ready: bool,
    pub(crate) routers: Vec<vip::Identity>,
}

/// It has written all this before it started us, or just after.
const LEGACY_WITHIN: Duration = Duration::from_secs(10);

impl Predecessor {
    /// The process that started this one to be succeeded, if it did.
    pub(crate) fn find() -> Result<Option<Self>, Error> {
        let is_line = || sockopt::socket_type(io::stdin()) == Ok(SocketType::SEQPACKET);
        // The name may be left in the environment by an earlier succession.
        if std::env::var_os(PREDECESSOR).is_none() || !is_line() {
            return Ok(None);
        }
        let line = io::stdin().as_fd().try_clone_to_owned()?;
        // What this process starts itself must not hold it.
        rustix::stdio::dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        sockopt::set_socket_timeout(&line, Timeout::Recv, Some(LEGACY_WITHIN))
            .map_err(io::Error::from)?;
        Ok(Some(Self(Arc::new(line))))
    }

    /// What it leaves, and how it is in charge of it until it passes on.
    pub(crate) fn inherit(&self) -> Result<Inheritance, Error> {
        let heard = line::hear::<Legacy>(&*self.0, RecvFlags::empty());
        let (legacy, descriptors) = heard
            .map_err(|error| Error::Predecessor(error.to_string()))?
            .ok_or_else(|| Error::Predecessor("it ended".to_owned()))?;
        if legacy.form != FORM {
            return Err(Error::Predecessor(format!(
                "version {} passes on in form {}, this one takes form {FORM}: restart instead",
                legacy.version, legacy.form
            )));
        }
        Inheritance::new(legacy, descriptors)
            .ok_or_else(|| Error::Predecessor("descriptors are missing".to_owned()))
    }

    pub(crate) fn say_ready(&self) {
        self.say(&Word::Ready { version: env!("CARGO_PKG_VERSION").to_owned() });
    }

    pub(crate) fn say_failed(&self, reason: &Error) {
        self.say(&Word::Failed { reason: reason.in_full() });
    }

    pub(crate) fn say_serving(&self) {
        self.say(&Word::Serving);
    }

    pub(crate) fn say_released(&self, addresses: &[IpAddr]) {
        self.say(&Word::Released { addresses: addresses.to_vec() });
    }

    /// Waits for its end, when its last connection is over.
    pub(crate) async fn ended(&self) {
        let line = Arc::clone(&self.0);
        let silence = tokio::task::spawn_blocking(move || {
            // It says nothing more; what ends the wait now and then is the time.
            while !matches!(line::hear::<Legacy>(&*line, RecvFlags::empty()), Ok(None)) {}
        });
        // The thread does not fail.
        let _ = silence.await;
    }

    /// One that has ended needs no words.
    fn say(&self, word: &Word) {
        let _ = line::say(&*self.0, word, &[]);
    }
}

impl Inheritance {
    fn new(legacy: Legacy, descriptors: Vec<OwnedFd>) -> Option<Self> {
        let mut descriptors = descriptors.into_iter();
        let (relay, lock) = (descriptors.next()?, descriptors.next()?);
        let admin: Vec<_> = descriptors.by_ref().take(legacy.admin).collect();
        let redirect = match legacy.redirect {
            None => None,
            Some(RedirectBy::Iptables) => Some(redirect::Bequest::Iptables),
            Some(RedirectBy::Nftables { owned }) => {
                Some(redirect::Bequest::Nftables { socket: descriptors.next()?, owned })
            }
        };
        let balancer = balancer::Legacy { redirect, listeners: descriptors.collect() };
        let Legacy { ready, routers, .. } = legacy;
        Some(Self { relay, lock, admin, balancer, ready, routers })
    }
}

/// What is served on the virtual addresses, by this process and, for the connections that it has
/// left, by its predecessor.
pub(crate) struct Served {
    pub(crate) here: Arc<dyn Service>,
    pub(crate) predecessor: Predecessor,
}

impl Service for Served {
    fn alive(&self) -> bool {
        self.here.alive()
    }

    fn claimed(&self, addresses: &[IpAddr]) {
        self.here.claimed(addresses);
    }

    fn released(&self, addresses: &[IpAddr]) {
        self.predecessor.say_released(addresses);
        self.here.released(addresses);
    }
}
