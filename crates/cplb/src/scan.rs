//! `cplb scan`: who speaks VRRP on the segment, without taking part.

mod listen;
mod speakers;
mod text;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use kernel::link::Link;
use serde::Serialize;
use vrrp::{Checksum, Version};

pub(crate) use listen::{Heard, links, listen};
pub(crate) use speakers::Speaker;
#[cfg(test)]
pub(crate) use speakers::{Packet, Speakers};

use crate::cli::{self, OutputFormat};
use crate::doctor::Daemon;
use crate::error::Error;

#[cfg(test)]
mod tests;

/// Listens and prints who was heard.
pub(crate) fn run(arguments: &cli::Scan) -> Result<(), Error> {
    let links = links(arguments.interface.as_deref())?;
    let ours = Daemon::ask(&arguments.run_dir).ok();
    let time = Duration::from_secs(arguments.seconds.into());
    let scan = Scan::new(&links, time, listen(&links, time)?, ours.as_ref());
    match arguments.output {
        OutputFormat::Text => print!("{scan}"),
        OutputFormat::Json => {
            println!("{}", serde_json::to_string_pretty(&scan).map_err(std::io::Error::from)?);
        }
    }
    Ok(())
}

/// What is printed. Durations are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Scan {
    interfaces: Vec<String>,
    listened_ms: u64,
    speakers: Vec<Row>,
    /// Why an interface, or a family of it, was not listened to.
    not_heard: Vec<String>,
    /// Identifiers nobody uses, the less popular ones.
    free_virtual_router_ids: Vec<u8>,
}

/// A speaker, for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    interface: String,
    virtual_router_id: u8,
    source: IpAddr,
    destination: IpAddr,
    packets: u64,
    interval_measured_ms: Option<u64>,
    /// Speaks for the virtual IPs of the daemon on this host; `None` without a daemon.
    ours: Option<bool>,
    /// Absent where nobody can read it.
    advertisement: Option<Advertisement>,
    /// What is wrong with what it says.
    fault: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Advertisement {
    version: u8,
    priority: u8,
    interval_announced_ms: u64,
    /// `none` or `password`; the password itself is never shown.
    authentication: &'static str,
    addresses: Vec<IpAddr>,
    /// `pseudo-header` (as keepalived) or `message-only` (RFC 9568) where there are two forms.
    checksum: Option<&'static str>,
}

impl Scan {
    fn new(links: &[Link], time: Duration, heard: Heard, daemon: Option<&Daemon>) -> Self {
        let taken = heard.speakers.iter().map(|speaker| speaker.virtual_router_id).collect();
        // Hosts differ in it, so that not everybody is told the same.
        let seed = links.iter().find_map(|link| link.mac).map_or(0, |mac| mac.0[5]);
        Self {
            interfaces: links.iter().map(|link| link.name.clone()).collect(),
            listened_ms: milliseconds(time),
            speakers: heard.speakers.iter().map(|speaker| Row::new(speaker, daemon)).collect(),
            not_heard: heard.deaf,
            free_virtual_router_ids: suggestions(&taken, seed),
        }
    }
}

impl Row {
    fn new(speaker: &Speaker, daemon: Option<&Daemon>) -> Self {
        Self {
            interface: speaker.interface.clone(),
            virtual_router_id: speaker.virtual_router_id,
            source: speaker.source,
            destination: speaker.destination,
            packets: speaker.packets,
            interval_measured_ms: speaker.interval().map(milliseconds),
            ours: daemon.map(|daemon| is_ours(speaker, daemon)),
            advertisement: speaker.said.as_ref().ok().map(Advertisement::new),
            fault: fault(speaker),
        }
    }
}

impl Advertisement {
    fn new((said, checksum): &(vrrp::Advertisement, Checksum)) -> Self {
        let two_forms = said.version == Version::V3 && said.addresses.iter().all(IpAddr::is_ipv4);
        let checksum = match checksum {
            Checksum::MessageOnly => "message-only",
            _ => "pseudo-header",
        };
        Self {
            version: if said.version == Version::V2 { 2 } else { 3 },
            priority: said.priority,
            interval_announced_ms: milliseconds(said.interval),
            authentication: if said.authentication.kind() == 0 { "none" } else { "password" },
            addresses: said.addresses.clone(),
            checksum: two_forms.then_some(checksum),
        }
    }
}

/// Whether it speaks for a virtual router of this host's daemon: same identifier, a common address.
fn is_ours(speaker: &Speaker, daemon: &Daemon) -> bool {
    daemon.status.virtual_routers.iter().any(|router| {
        router.virtual_router_id == speaker.virtual_router_id
            && router.interface == speaker.interface
            && speaker.advertisement().is_some_and(|said| {
                router.addresses().iter().any(|address| said.addresses.contains(address))
            })
    })
}

fn fault(speaker: &Speaker) -> Option<String> {
    match &speaker.said {
        Err(reason) => Some(reason.to_string()),
        Ok(_) if speaker.hop_limit != vrrp::HOP_LIMIT => {
            Some(vrrp::DropReason::HopLimit(speaker.hop_limit).to_string())
        }
        Ok(_) => None,
    }
}

/// Identifiers that tutorials, defaults and other clusters use: a newcomer soon meets them.
const POPULAR: [u8; 7] = [1, 10, 50, 51, 52, 100, 255];
const SUGGESTED: usize = 5;

/// Some identifiers that nobody was heard with.
fn suggestions(taken: &BTreeSet<u8>, seed: u8) -> Vec<u8> {
    let all = (0..=u8::MAX).map(|step| seed.wrapping_add(step));
    let free = all.filter(|id| *id != 0 && !POPULAR.contains(id) && !taken.contains(id));
    free.take(SUGGESTED).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
