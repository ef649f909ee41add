//! Hearing what is said on the links, without saying anything but that one listens (IGMP, MLD).

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kernel::Error;
use kernel::link::{self, Link, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::vrrp_socket::{Family, LARGEST_DATAGRAM, Mode, OpenOptions, VrrpSocket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::speakers::{Packet, Speaker, Speakers};

/// What was heard, and where nothing could be.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) speakers: Vec<Speaker>,
    /// Why an interface, or a family of it, was not listened to.
    pub(crate) deaf: Vec<String>,
}

/// Listens on all the links for this long.
///
/// # Errors
/// Without CAP_NET_RAW.
pub(crate) fn listen(links: &[Link], time: Duration) -> Result<Heard, Error> {
    let mut heard = Heard::default();
    let mut ears = open(links, &mut heard.deaf)?;
    let mut speakers = Speakers::default();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        if ears.is_empty() {
            break;
        }
        wait(&ears, left);
        ears.retain(|ear| match ear.hear(begin, &mut buffer, &mut speakers) {
            Ok(()) => true,
            Err(error) => {
                heard.deaf.push(format!("{}: {error}", ear.interface));
                false
            }
        });
    }
    heard.speakers = speakers.into_list();
    Ok(heard)
}

/// The link of that name, or every Ethernet interface that is up. A port of a bridge or bond is
/// left out: its packets show on the bridge or bond.
///
/// # Errors
/// When there is no interface of that name, or the kernel does not answer.
pub(crate) fn links(interface: Option<&str>) -> Result<Vec<Link>, Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    if let Some(name) = interface {
        return Ok(vec![link::find(&mut socket, &Selector::Name(name.to_owned()))?]);
    }
    let mut links = link::list(&mut socket)?;
    links.retain(|link| link.up && link.mac.is_some() && link.master.is_none());
    Ok(links)
}

/// A socket and the interface it listens on.
struct Ear {
    interface: String,
    socket: VrrpSocket,
}

impl Ear {
    /// Takes what has come in.
    fn hear(
        &self,
        begin: Instant,
        buffer: &mut [u8],
        speakers: &mut Speakers,
    ) -> std::io::Result<()> {
        while let Some(datagram) = self.socket.receive(buffer)? {
            let packet = Packet {
                interface: &self.interface,
                source: datagram.source,
                destination: datagram.destination,
                hop_limit: datagram.hop_limit,
                message: datagram.payload,
            };
            speakers.hear(begin.elapsed(), packet);
        }
        Ok(())
    }
}

fn open(links: &[Link], deaf: &mut Vec<String>) -> Result<Vec<Ear>, Error> {
    let mut ears = Vec::new();
    for link in links {
        for family in [Family::V4, Family::V6] {
            let options = OpenOptions {
                link_index: link.index,
                link_name: link.name.clone(),
                family,
                mode: Mode::Multicast,
            };
            match VrrpSocket::open(&options) {
                Ok(socket) => ears.push(Ear { interface: link.name.clone(), socket }),
                Err(error @ Error::NotPermitted { .. }) => return Err(error),
                // An interface without IPv6 joins no group of it, which is no fault.
                Err(_) if family == Family::V6 && !has_ipv6(&link.name) => {}
                Err(error) => deaf.push(error.to_string()),
            }
        }
    }
    Ok(ears)
}

fn has_ipv6(interface: &str) -> bool {
    let disabled = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    std::fs::read_to_string(disabled).is_ok_and(|text| text.trim() == "0")
}

/// Until one of them has something, or the time is over.
fn wait(ears: &[Ear], left: Duration) {
    let mut descriptors: Vec<PollFd<'_>> = ears
        .iter()
        .map(|ear| PollFd::from_borrowed_fd(ear.socket.as_fd(), PollFlags::IN))
        .collect();
    let left = Timespec::try_from(left).unwrap_or_default();
    // Interrupted or not, the caller looks at all of them.
    let _ = poll(&mut descriptors, Some(&left));
}
