//! `cplb doctor`: what could go wrong on this host and this network. It changes nothing.
//!
//! ```text
//!   document, daemon ──▶ target     what is to be well
//!   segment, kernel, processes, files, apiserver, cluster ──▶ one module per check ──▶ findings
//! ```
//! Every check has a pure part, which judges what another part has seen.

mod blocked;
mod certificate;
mod clock;
mod cluster;
mod daemon;
mod finding;
mod holders;
mod leftovers;
mod network;
mod ports;
mod processes;
mod return_path;
mod rivals;
mod speakers;
mod system;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;
use std::thread;

use jiff::Timestamp;
use kernel::address::Addresses;
use kernel::link::Mac;

pub(crate) use daemon::Daemon;
use finding::{Finding, Report};

use crate::cli::{self, OutputFormat};
use crate::document;
use crate::error::Error;
use crate::scan::{self, Heard};
use certificate::Distribution;
use holders::Evidence;
use leftovers::{Kernel, Maintainers};
use processes::Process;
use target::{Router, Target};

/// Exit code 1 if there is an error among the findings.
pub(crate) fn run(arguments: &cli::Doctor) -> ExitCode {
    match examine(arguments).and_then(|report| print(&report, arguments.output).map(|()| report)) {
        Ok(report) if report.errors == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cplb: {error}");
            error.exit_code()
        }
    }
}

fn print(report: &Report, output: OutputFormat) -> Result<(), Error> {
    match output {
        OutputFormat::Text => print!("{report}"),
        OutputFormat::Json => {
            println!("{}", serde_json::to_string_pretty(report).map_err(std::io::Error::from)?);
        }
    }
    Ok(())
}

fn examine(arguments: &cli::Doctor) -> Result<Report, Error> {
    let settings = arguments.config.as_deref().map(document::load).transpose()?;
    let [asked, worker] = daemon::ask_both(&arguments.run_dir);
    let daemon = asked.as_ref().ok();
    let mut findings = daemon::check(&asked);
    findings.extend(worker::check(&worker));
    let target = match (&settings, daemon) {
        _ if worker::is_all(&asked, &worker) => {
            findings.push(Finding::skipped(
                "document",
                "this node is a worker: virtual IPs are looked at on controllers",
            ));
            Target::nothing()
        }
        (Some(settings), _) => Target::of_document(settings, &mut findings)?,
        (None, Some(daemon)) => Target::of_daemon(daemon)?,
        (None, None) => {
            findings.push(Finding::skipped(
                "document",
                "no --config and no daemon: what concerns a certain virtual IP is not checked",
            ));
            Target::nothing()
        }
    };

    let processes = processes::all();
    findings.extend(segment(&target, daemon)?);
    let left = Kernel::look(&arguments.run_dir)?;
    findings.extend(host(&target, daemon, daemon::may_run(&asked), &processes, &left));
    findings.extend(ask_apiservers(&target, arguments)?);
    Ok(Report::new(findings))
}

/// What is heard and answered on the network segments.
fn segment(target: &Target, daemon: Option<&Daemon>) -> Result<Vec<Finding>, Error> {
    let mut links = scan::links(None)?;
    for router in &target.routers {
        if !links.iter().any(|link| link.index == router.link.index) {
            links.push(router.link.clone());
        }
    }
    let found = Addresses::open()?.list()?;
    let own: Vec<IpAddr> = found.iter().map(|found| found.address).collect();
    let time = target.listening_time();
    let (heard, arrived) = thread::scope(|scope| {
        let tap = scope.spawn(|| blocked::tap(time, &own));
        let heard = scan::listen(&links, time);
        (heard, tap.join())
    });
    let (heard, arrived) = match (heard, arrived) {
        (Ok(heard), Ok(Ok(arrived))) => (heard, arrived),
        (Err(error), _) => return Ok(vec![unheard(&error.to_string())]),
        (_, Ok(Err(error))) => return Ok(vec![unheard(&error.to_string())]),
        (_, Err(panic)) => std::panic::resume_unwind(panic),
    };

    let mut findings: Vec<Finding> =
        target.routers.iter().filter_map(|router| target::check(router, &found)).collect();
    for reason in &heard.deaf {
        findings.push(Finding::skipped("vrrp", reason.clone()));
    }
    for router in &target.routers {
        findings.extend(speakers::check(router, &heard.speakers, is_active_here(router, daemon)));
    }
    if !target.routers.is_empty() {
        findings.extend(blocked::check(&target.routers, &arrived, &heard.speakers));
    }
    for router in &target.routers {
        findings.extend(virtual_addresses(router, &heard, daemon, &own).unwrap_or_else(|error| {
            vec![Finding::skipped("virtual-ip", format!("nobody was asked: {error}"))]
        }));
    }
    Ok(findings)
}

fn unheard(reason: &str) -> Finding {
    Finding::skipped("vrrp", format!("nothing on the network was checked: {reason}"))
}

/// Asks who has the router's virtual IPs, and its speakers who they are.
fn virtual_addresses(
    router: &Router,
    heard: &Heard,
    daemon: Option<&Daemon>,
    own: &[IpAddr],
) -> Result<Vec<Finding>, kernel::Error> {
    let known = daemon.and_then(|daemon| {
        let routers = &daemon.status.virtual_routers;
        routers.iter().find(|it| router.is(it)).filter(|it| !it.is_active())?.holder
    });
    let advertises = |speaker: &&scan::Speaker| {
        speaker.interface == router.link.name
            && speaker.virtual_router_id == router.id
            && speaker.advertisement().is_some_and(|said| {
                router.addresses().iter().any(|address| said.addresses.contains(address))
            })
    };
    let holders: BTreeSet<IpAddr> =
        heard.speakers.iter().filter(advertises).map(|it| it.source).chain(known).collect();
    let asked: BTreeSet<IpAddr> = holders.iter().copied().chain(router.addresses()).collect();
    let answers = holders::ask(&router.link, &asked)?;
    let answer = |address: &IpAddr| answers.get(address).cloned().unwrap_or_default();
    let advertised_by: BTreeMap<IpAddr, BTreeSet<Mac>> =
        holders.iter().map(|holder| (*holder, answer(holder))).collect();
    Ok(router
        .addresses()
        .iter()
        .map(|address| {
            holders::check(&Evidence {
                address: *address,
                interface: router.link.name.clone(),
                router_id: router.id,
                here: own.contains(address),
                answered: answer(address),
                advertised_by: advertised_by.clone(),
            })
        })
        .collect())
}

/// What is on this host.
fn host(
    target: &Target,
    daemon: Option<&Daemon>,
    daemon_may_run: bool,
    processes: &[Process],
    kernel: &Kernel,
) -> Vec<Finding> {
    let virtual_addresses = target.addresses();
    let read = |path: &std::path::Path| fs::read_to_string(path).ok();
    let mut findings = rivals::check(processes, target, read);
    findings.extend(rivals::check_node_address(processes, &virtual_addresses));
    let maintainers = Maintainers {
        cplb: daemon_may_run,
        others: processes.iter().any(|it| ["keepalived", "kube-vip"].contains(&it.name.as_str())),
    };
    let api_port = target.apiserver.port();
    findings.extend(leftovers::check(kernel, &virtual_addresses, api_port, maintainers));
    let of_interest: Vec<u16> = target.proxy_port.into_iter().chain([api_port]).collect();
    findings.extend(ports::check(target, &ports::taken(&of_interest), daemon, daemon_may_run));
    findings.extend(system::kernel(target.ipvs));
    findings.extend(system::limits(daemon));
    findings.extend(network::look(&target.routers));
    findings.extend(return_path::look(&target.routers));
    findings.push(clock::look());
    findings
}

/// What this host's apiserver shows and the cluster says.
fn ask_apiservers(target: &Target, arguments: &cli::Doctor) -> Result<Vec<Finding>, Error> {
    let virtual_addresses = target.addresses();
    if virtual_addresses.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = target.apiserver;
    let mut findings = match runtime.block_on(certificate::shown_by(server)) {
        Ok(shown) => {
            let distribution = Distribution::of_this_host();
            certificate::check(&shown, server, &virtual_addresses, distribution, Timestamp::now())
        }
        Err(reason) => {
            vec![Finding::skipped("certificate", format!("none seen at {server}: {reason}"))]
        }
    };
    findings.extend(match &arguments.kubeconfig {
        Some(file) => runtime.block_on(cluster::check(file, &virtual_addresses)),
        None => vec![Finding::skipped("endpoints", "no --kubeconfig to read the cluster by")],
    });
    Ok(findings)
}

fn is_active_here(router: &Router, daemon: Option<&Daemon>) -> bool {
    let routers = daemon.iter().flat_map(|daemon| &daemon.status.virtual_routers);
    routers.filter(|it| router.is(it)).any(daemon::VirtualRouter::is_active)
}

impl Router {
    /// Whether the daemon means the same virtual router.
    fn is(&self, running: &daemon::VirtualRouter) -> bool {
        running.virtual_router_id == self.id
            && running.interface == self.link.name
            && running.source.is_ipv4() == self.is_ipv4()
    }
}
