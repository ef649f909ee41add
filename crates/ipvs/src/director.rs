//! The services of this node, by plain calls: each does its work in the kernel before it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::Addresses;
use kernel::dummy::Dummy;
use kernel::ipvs::{self, Change, FoundDestination, Ipvs, LastWill, Service};
use tracing::{info, warn};

use crate::changes::{Balanced, Tenure, changes};
use crate::environment::{self, LINK};
use crate::error::Error;
use crate::real_servers::{LeftOut, RealServers};
use crate::settings::Settings;
use crate::state::State;

/// The services of this node in the network namespace of the thread that opened it.
///
/// Dropping it leaves the kernel as it is: [`Director::remove`] undoes everything.
#[derive(Debug)]
pub struct Director {
    ipvs: Ipvs,
    dummy: Dummy,
    addresses: Addresses,
    settings: Settings,
    state: State,
    real_servers: RealServers,
    held: BTreeSet<IpAddr>,
    /// Addresses just given away, and how long some hosts may not know it.
    leaving: BTreeMap<IpAddr, Instant>,
}

/// A service as it is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The service.
    pub service: Service,
    /// Its real servers, the last added first, with the numbers of their connections.
    pub real_servers: Vec<FoundDestination>,
}

/// Hosts that missed the announcement of the next director ask again within this time.
const LEAVING: Duration = Duration::from_millis(500);

impl Director {
    /// Removes what a crash left, checks that the kernel can do all that `settings` ask for, and
    /// brings about what every node needs: the link and the parameters. There is no service yet.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let leftovers = remove_leftovers(&settings.state_file)?;
        if !leftovers.is_empty() {
            info!("removed what an earlier process left: {}", leftovers.join(", "));
        }
        let mut ipvs = Ipvs::open()?;
        check(&settings, &mut ipvs)?;
        let mut director = Self {
            ipvs,
            dummy: Dummy::open(LINK)?,
            addresses: Addresses::open()?,
            state: State::read(&settings.state_file),
            settings,
            real_servers: RealServers::default(),
            held: BTreeSet::new(),
            leaving: BTreeMap::new(),
        };
        if let Err(error) = director.begin() {
            // What has been done so far is undone; the first error is the one to tell.
            if let Err(error) = director.undo() {
                warn!(%error, "cannot undo what was changed for IPVS");
            }
            return Err(error);
        }
        Ok(director)
    }

    /// Changes the settings. An error says that the earlier ones are still in force.
    ///
    /// The state file must stay the same.
    pub fn apply(&mut self, settings: Settings, now: Instant) -> Result<(), Error> {
        check(&settings, &mut self.ipvs)?;
        let earlier = std::mem::replace(&mut self.settings, settings);
        let outcome = self.begin().and_then(|()| self.reconcile(now).map(drop));
        if let Err(error) = outcome {
            self.settings = earlier;
            let back = self.begin().and_then(|()| self.reconcile(now).map(drop));
            if let Err(error) = back {
                warn!(%error, "cannot go back to the earlier settings of IPVS");
            }
            return Err(error);
        }
        // Services at addresses that are no more are gone now.
        let ours = self.service_addresses();
        self.state.change(|content| content.services = ours)
    }

    /// Takes in which real servers may be used. Returns those that a service cannot use.
    pub fn set_usable(
        &mut self,
        usable: &[SocketAddr],
        now: Instant,
    ) -> Result<Vec<LeftOut>, Error> {
        self.real_servers.set_usable(now, usable.iter().copied(), self.settings.drain);
        self.reconcile_services(now)?;
        let servers = self.settings.virtual_servers.iter();
        Ok(servers.flat_map(|server| self.real_servers.left_out(server)).collect())
    }

    /// Installs the services of addresses that come to this node. Others are not ours to serve and
    /// change nothing.
    pub fn hold(&mut self, addresses: &[IpAddr], now: Instant) -> Result<(), Error> {
        self.held.extend(addresses);
        self.leaving.retain(|address, _| !addresses.contains(address));
        self.reconcile_services(now).map(drop)
    }

    /// Winds up the services of addresses that leave this node: established connections are passed
    /// on for half a second more, new ones stay on this machine.
    pub fn release(&mut self, addresses: &[IpAddr], now: Instant) -> Result<(), Error> {
        for address in addresses {
            if self.held.remove(address) {
                self.leaving.insert(*address, now + LEAVING);
            }
        }
        self.reconcile_services(now).map(drop)
    }

    /// Compares everything with what is wanted and mends the difference; says whether there was
    /// one. Does what was due by `now`.
    pub fn reconcile(&mut self, now: Instant) -> Result<bool, Error> {
        let changed = environment::reconcile(&self.settings, &mut self.dummy, &mut self.state)?;
        Ok(self.reconcile_services(now)? || changed)
    }

    /// When [`Director::reconcile`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.leaving.values().copied().chain(self.real_servers.next_deadline()).min()
    }

    /// The services at the addresses of the settings as they are in the kernel, with their real
    /// servers and the numbers of connections. They may be somebody else's ([`Settings::services`]).
    pub fn services(&mut self) -> Result<Vec<Installed>, Error> {
        let mut services = Vec::new();
        for address in self.settings.virtual_servers.iter().map(|server| server.address) {
            if let Some(service) = self.ipvs.service(address)? {
                let real_servers = self.ipvs.destinations(address)?;
                services.push(Installed { service, real_servers });
            }
        }
        Ok(services)
    }

    /// Whether there may be services of ours.
    pub(crate) fn makes_services(&self) -> bool {
        self.settings.services && !self.settings.virtual_servers.is_empty()
    }

    /// Says that this process is alive, and what to remove when it is not.
    pub(crate) fn renew(&self, last_will: &LastWill) -> Result<(), Error> {
        let services: Vec<SocketAddr> = self.service_addresses().into_iter().collect();
        Ok(last_will.renew(&self.ipvs, &services)?)
    }

    /// Undoes everything: services, link and parameters.
    pub fn remove(mut self) -> Result<(), Error> {
        self.undo()
    }

    /// What every node needs, and that of which a crash has to leave word.
    fn begin(&mut self) -> Result<(), Error> {
        let ours = self.service_addresses();
        self.state.change(|content| content.services.extend(ours))?;
        environment::reconcile(&self.settings, &mut self.dummy, &mut self.state).map(drop)
    }

    fn undo(&mut self) -> Result<(), Error> {
        undo(&mut self.ipvs, &mut self.dummy, &mut self.state).map(drop)
    }

    fn reconcile_services(&mut self, now: Instant) -> Result<bool, Error> {
        self.real_servers.handle_timeout(now);
        self.leaving.retain(|_, until| *until > now);
        let local = if self.leaving.is_empty() { BTreeSet::new() } else { self.local_addresses()? };
        let weights = self.real_servers.weights();
        let wanted: Vec<Balanced> = self
            .settings
            .virtual_servers
            .iter()
            .filter(|_| self.settings.services)
            .filter_map(|server| {
                let tenure = self.tenure(server.address.ip())?;
                Some(Balanced::wanted(server, &weights, tenure, &local))
            })
            .collect();
        // What an apply has made superfluous is in the state alone.
        let mut ours = self.service_addresses();
        ours.extend(&self.state.content.services);
        let found = self.found(&ours)?;
        let changes = changes(&ours, &wanted, &found);
        if changes.is_empty() {
            return Ok(false);
        }
        self.ipvs.change(&changes)?;
        Ok(true)
    }

    fn tenure(&self, address: IpAddr) -> Option<Tenure> {
        if self.held.contains(&address) {
            return Some(Tenure::Holding);
        }
        self.leaving.contains_key(&address).then_some(Tenure::Leaving)
    }

    /// The addresses of this machine.
    fn local_addresses(&mut self) -> Result<BTreeSet<IpAddr>, Error> {
        Ok(self.addresses.list()?.iter().map(|found| found.address).collect())
    }

    fn found(&mut self, ours: &BTreeSet<SocketAddr>) -> Result<Vec<Balanced>, Error> {
        let mut found = Vec::new();
        for address in ours {
            let Some(service) = self.ipvs.service(*address)? else { continue };
            let listed = self.ipvs.destinations(*address)?;
            // The kernel lists the last added first.
            let destinations = listed.into_iter().rev().map(|found| found.destination).collect();
            found.push(Balanced { service, destinations });
        }
        Ok(found)
    }

    fn service_addresses(&self) -> BTreeSet<SocketAddr> {
        let servers = self.settings.virtual_servers.iter().filter(|_| self.settings.services);
        servers.map(|server| server.address).collect()
    }
}

/// Removes everything that a process which kept this state file has left in the network namespace
/// of the calling thread, and says in words what that was. Does nothing where there is nothing.
///
/// No living process must use the file.
pub fn remove_leftovers(state_file: &Path) -> Result<Vec<String>, Error> {
    let mut state = State::read(state_file);
    let mut dummy = Dummy::open(LINK)?;
    if !state.content.services.is_empty() {
        match Ipvs::open() {
            Ok(mut ipvs) => return undo(&mut ipvs, &mut dummy, &mut state),
            // The services have gone with the module.
            Err(ipvs::Error::NoIpvs) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let removed = environment::remove(&mut dummy, &mut state)?;
    state.forget();
    Ok(removed)
}

fn undo(ipvs: &mut Ipvs, dummy: &mut Dummy, state: &mut State) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    for address in &state.content.services {
        if ipvs.remove_service(*address)? {
            removed.push(format!("the IPVS service {address}"));
        }
        // A crash may have come in the middle of a trial.
        ipvs.remove_service(trial_address(*address))?;
    }
    removed.extend(environment::remove(dummy, state)?);
    state.forget();
    Ok(removed)
}

/// Whatever can be known to be wrong shows here, before anything is changed. Loads the modules of
/// the schedulers as well: at a take-over there is no time for that.
fn check(settings: &Settings, ipvs: &mut Ipvs) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = settings.virtual_servers.iter().find(|it| !seen.insert(it.address)) {
        return Err(Error::Twice { address: twice.address });
    }
    ipvs.info()?;
    environment::check_forwarding(settings)?;
    for server in &settings.virtual_servers {
        let trial = Service {
            address: trial_address(server.address),
            ..Balanced::wanted(server, &BTreeMap::new(), Tenure::Holding, &BTreeSet::new()).service
        };
        // One that a crash has left would be in the way.
        ipvs.remove_service(trial.address)?;
        ipvs.change(&[Change::AddService(trial.clone())])?;
        ipvs.remove_service(trial.address)?;
    }
    Ok(())
}

/// An address for examples (RFC 5737, RFC 3849), to which nobody sends, and the discard port.
fn trial_address(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, 9)
}
