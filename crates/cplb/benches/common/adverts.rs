use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kernel::link::{self, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::vrrp_socket::{Family, LARGEST_DATAGRAM, Mode, OpenOptions, VrrpSocket};
use lab::world::Host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::Error;

/// Hears the advertisements on a host that takes no part.
pub(crate) struct Adverts(VrrpSocket);

impl Adverts {
    pub(crate) fn hear(host: &Host) -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::open(Protocol::Route)?;
            let link = link::find(&mut socket, &Selector::Name("eth0".to_owned()))?;
            VrrpSocket::open(&OpenOptions {
                link_index: link.index,
                link_name: link.name,
                family: Family::V4,
                mode: Mode::Multicast,
            })
        };
        Ok(Self(host.namespace.run(open)??))
    }

    /// Waits for one that is sent from now on, at most `limit`; whether it came.
    pub(crate) fn fresh(&self, limit: Duration) -> Result<bool, Error> {
        while self.take()?.is_some() {}
        Ok(self.next(limit)?.is_some())
    }

    /// Who sent the next one, which may have come before; waits at most `limit` for it.
    pub(crate) fn next(&self, limit: Duration) -> Result<Option<IpAddr>, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(source) = self.take()? {
                return Ok(Some(source));
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec {
                tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: rest.subsec_nanos().into(),
            };
            let mut waiting = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            // An interrupted wait is a short one.
            let _woken = poll(&mut waiting, Some(&timeout));
        }
    }

    fn take(&self) -> Result<Option<IpAddr>, Error> {
        let mut buffer = [0; LARGEST_DATAGRAM];
        let received = self.0.receive(&mut buffer).map_err(Error::system("to hear adverts"))?;
        Ok(received.map(|datagram| datagram.source))
    }
}
