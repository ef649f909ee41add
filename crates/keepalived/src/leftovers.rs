//! What a keepalived of ours left that could not clean up: processes, addresses, IPVS services, files.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use kernel::address::Addresses;
use kernel::ipvs::{self, Ipvs};
use kernel::link::{self, Selector};
use kernel::netlink::{Protocol, Socket};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Error;
use crate::files::{Files, Given};

/// Ends a keepalived that still runs with the configuration in this directory, takes the addresses
/// off that it was given, and removes its IPVS services and its files. Says what was there.
///
/// For a directory without a supervisor at work: its owner holds a lock.
pub fn remove_leftovers(run_dir: &Path) -> Result<Vec<String>, Error> {
    let files = Files::new(run_dir);
    let mut removed = Vec::new();
    let processes = processes(&files);
    if !processes.is_empty() {
        end(&processes);
        removed.push("a keepalived without supervisor".to_owned());
    }
    let given = files.read_given()?;
    removed.extend(remove_addresses(&given)?);
    removed.extend(remove_services(&files.read_services()?)?);
    files.remove_all()?;
    Ok(removed)
}

/// Takes the addresses off their interfaces; which were there.
///
/// keepalived marks them (protocol 18) from version 2.3.2 on only, so that no mark is asked for. Each was in
/// its configuration for this interface.
pub(crate) fn remove_addresses(given: &[Given]) -> Result<Vec<String>, Error> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let mut socket = Socket::open(Protocol::Route)?;
    let mut addresses = Addresses::open()?;
    let mut removed = Vec::new();
    for given in given {
        let Some(address) = given.virtual_address() else { continue };
        // An interface that is gone took its addresses along.
        let Ok(link) = link::find(&mut socket, &Selector::Name(given.interface.clone())) else {
            continue;
        };
        if addresses.remove(link.index, &address)? {
            removed.push(format!("the virtual address {address} of keepalived"));
        }
    }
    Ok(removed)
}

/// Removes the IPVS services at these addresses; which were there. On a node that does not hold the
/// address, they would send packets in circles between it and the holder.
///
/// keepalived's checker must be gone: it does not look again whether they are there.
pub(crate) fn remove_services(services: &[SocketAddr]) -> Result<Vec<String>, Error> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let mut ipvs = match Ipvs::open() {
        Ok(ipvs) => ipvs,
        // The services have gone with the module.
        Err(ipvs::Error::NoIpvs) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut removed = Vec::new();
    for address in services {
        if ipvs.remove_service(*address)? {
            removed.push(format!("the IPVS service {address} of keepalived"));
        }
    }
    Ok(removed)
}

/// Those that the pid files name, as far as they run with our configuration.
fn processes(files: &Files) -> Vec<Pid> {
    let pid = |path: &Path| Pid::from_raw(fs::read_to_string(path).ok()?.trim().parse().ok()?);
    let configuration = files.main();
    let is_ours = |pid: &Pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        let line = fs::read(path).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.any(|word| word == configuration.as_os_str().as_encoded_bytes())
    };
    files.pids().iter().filter_map(|path| pid(path)).filter(is_ours).collect()
}

const IN_GOOD_ORDER: Duration = Duration::from_secs(3);
const AT_LAST: Duration = Duration::from_secs(1);

fn end(processes: &[Pid]) {
    // By descriptors, so that no other process of that number is meant.
    let open: Vec<_> =
        processes.iter().filter_map(|pid| pidfd_open(*pid, PidfdFlags::empty()).ok()).collect();
    for (signal, patience) in [(Signal::TERM, IN_GOOD_ORDER), (Signal::KILL, AT_LAST)] {
        for process in &open {
            let _ = pidfd_send_signal(process, signal);
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            // A process that nobody has waited for is there for signals, but not in the list.
            if processes.iter().all(|pid| is_over(*pid)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Gone, or dead and not yet waited for.
fn is_over(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.map_or(true, |stat| {
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}
