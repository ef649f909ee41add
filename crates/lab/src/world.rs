//! A cluster in namespaces: a switch, controllers, a client, and the processes that run on them.
//!
//! The namespaces exist by descriptors only and the processes die with the thread that built the world, so that
//! nothing is left behind, not even after SIGKILL.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::address::VirtualAddress;
use kernel::netns::{self, Namespace};
use rustls::pki_types::CertificateDer;

use crate::pki::{self, Authority, Identity};
use crate::{Error, apiserver, client, observer};

mod daemon;
mod directory;
mod host;
mod plan;

pub use daemon::{Daemon, Launch, State};
use directory::Directory;
pub use host::{Host, HostCommand};
pub use plan::{HostPlan, Plan, VrrpEngine};

const SWITCH: &str = "switch";

/// The whole cluster. Build it on a thread that lasts as long as it: its processes end with that thread.
pub struct World {
    // Fields are dropped in this order: processes first, their directory last.
    nodes: Vec<Node>,
    client: Host,
    others: Vec<Host>,
    switch: Arc<Namespace>,
    plan: Plan,
    authority: Authority,
    admin: Identity,
    serving: Vec<CertificateDer<'static>>,
    directory: Directory,
}

/// A controller node: a host with its two processes.
pub struct Node {
    /// `cplb controller`.
    pub controller: Daemon,
    /// The apiserver beside it.
    pub apiserver: Daemon,
    /// The controller's run directory.
    pub run_dir: PathBuf,
    host: Host,
}

impl World {
    /// Builds namespaces, cables, certificates and files. No process runs yet.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a link, or a file cannot be written.
    pub fn build(plan: Plan) -> Result<Self, Error> {
        let directory = Directory::new()?;
        let switch = Arc::new(Namespace::new()?);
        switch.run(|| -> Result<(), kernel::Error> {
            netns::create_bridge(SWITCH)?;
            plan.gateways.iter().try_for_each(|gateway| netns::add_address(SWITCH, gateway))?;
            netns::set_up(SWITCH)
        })??;
        let authority = Authority::new()?;
        let admin = authority.client("kubernetes-admin", "system:masters")?;
        write(&directory.path().join("ca.crt"), &authority.certificate())?;
        write(&directory.path().join("admin.crt"), &admin.certificate)?;
        write(&directory.path().join("admin.key"), &admin.key)?;
        write(&directory.path().join("config.yaml"), &plan.document)?;
        write(
            &directory.path().join("admin.conf"),
            &kubeconfig(&directory, SocketAddr::new(plan.virtual_address(), plan.api_port)),
        )?;

        let client = Host::connect(&switch, "client", &plan.client, &plan)?;
        let mut world = Self {
            nodes: Vec::new(),
            client,
            others: Vec::new(),
            switch,
            authority,
            admin,
            serving: Vec::new(),
            directory,
            plan,
        };
        for number in 1..=world.plan.nodes.len() {
            world.add_node(number)?;
        }
        Ok(world)
    }

    /// Starts every controller and apiserver that does not run.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn start_all(&mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            for daemon in [&mut node.apiserver, &mut node.controller] {
                if !daemon.state().is_alive() {
                    daemon.start()?;
                }
            }
        }
        Ok(())
    }

    /// The controller node of that index, from 0.
    ///
    /// # Panics
    /// When there is no such node: see [`World::nodes`].
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// As [`World::node`], to start, stop or replace its processes.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// All controller nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The host of the client.
    #[must_use]
    pub const fn client(&self) -> &Host {
        &self.client
    }

    /// Connects one more host, of no role, to the switch.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn add_host(&mut self, name: &str, plan: &HostPlan) -> Result<&Host, Error> {
        let host = Host::connect(&self.switch, name, plan, &self.plan)?;
        self.others.push(host);
        Ok(&self.others[self.others.len() - 1])
    }

    /// The hosts that were added, in that order.
    #[must_use]
    pub fn others(&self) -> &[Host] {
        &self.others
    }

    /// What it was built from.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The directory of its files: `ca.crt`, `admin.crt`, `admin.key`, `admin.conf` (through the virtual IP),
    /// `config.yaml`, and one directory per node.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The authority of all certificates.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Takes the node's port of the switch down: its cable is cut.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn cut(&self, index: usize) -> Result<(), Error> {
        let port = &self.nodes[index].host.port;
        Ok(self.switch.run(|| netns::set_down(port))??)
    }

    /// Brings the node's port up again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(&self, index: usize) -> Result<(), Error> {
        let port = &self.nodes[index].host.port;
        Ok(self.switch.run(|| netns::set_up(port))??)
    }

    /// The nodes whose kernel has `address`, asked now. Dummy links do not count, as with the [observer].
    ///
    /// # Errors
    /// When a kernel does not answer.
    pub fn holders(&self, address: IpAddr) -> Result<Vec<usize>, Error> {
        let mut holders = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if node.host.namespace.run(|| observer::holds(address))?? {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// Options of a client that asks the virtual IP every `interval`.
    #[must_use]
    pub fn client_options(&self, interval: std::time::Duration) -> client::Options {
        let names = self.nodes.iter().map(|node| node.host.name.clone());
        client::Options {
            address: SocketAddr::new(self.plan.virtual_address(), self.plan.api_port),
            authority: self.authority.der(),
            replicas: self.serving.iter().cloned().zip(names).collect(),
            watch: Some((self.admin.certificate.clone(), self.admin.key.clone())),
            interval,
            deadline: std::time::Duration::from_secs(5),
        }
    }

    fn add_node(&mut self, number: usize) -> Result<(), Error> {
        let name = format!("controller-{number}");
        let host_plan = &self.plan.nodes[number - 1];
        let host = Host::connect(&self.switch, &name, host_plan, &self.plan)?;
        let directory = self.directory.path().join(&name);
        let run_dir = directory.join("run");
        fs::create_dir_all(&run_dir).map_err(|source| Error::file(&run_dir, source))?;

        let addresses = self.plan.virtual_addresses.iter().map(|vip| vip.address);
        let addresses: Vec<IpAddr> = host.addresses.iter().copied().chain(addresses).collect();
        let apiserver_name = format!("kube-apiserver-{number}");
        let serving = self.authority.serving(&apiserver_name, &addresses)?;
        write(&directory.join("apiserver.crt"), &serving.certificate)?;
        write(&directory.join("apiserver.key"), &serving.key)?;
        let own = SocketAddr::from(([127, 0, 0, 1], self.plan.api_port));
        write(&directory.join("admin.conf"), &kubeconfig(&self.directory, own))?;

        let log = |what: &str| directory.join(format!("{what}.log"));
        let options = self.apiserver_options(&host, &apiserver_name, &directory);
        let launch = Launch::new(&self.plan.binary).argument("lab-apiserver").option(
            "--options",
            serde_json::to_string(&options)
                .map_err(std::io::Error::from)
                .map_err(|source| Error::file(&directory, source))?,
        );
        let apiserver = Daemon::new(apiserver_name, launch, &host, log("apiserver"));
        let launch = Launch::new(&self.plan.binary)
            .argument("controller")
            .option("--config", self.directory.path().join("config.yaml"))
            .option("--kubeconfig", directory.join("admin.conf"))
            .option("--run-dir", &run_dir)
            .option("--state-dir", directory.join("state"))
            .option("--vrrp", self.plan.vrrp.name())
            .arguments(&self.plan.controller_arguments);
        let controller = Daemon::new(name, launch, &host, log("controller"));
        self.serving.push(serving.der);
        self.nodes.push(Node { controller, apiserver, run_dir, host });
        Ok(())
    }

    fn apiserver_options(&self, host: &Host, name: &str, directory: &Path) -> apiserver::Options {
        let port = self.plan.api_port;
        let any = match host.addresses.iter().any(IpAddr::is_ipv6) {
            true => IpAddr::from([0_u16; 8]),
            false => IpAddr::from([0_u8; 4]),
        };
        apiserver::Options {
            listen: SocketAddr::new(any, port),
            name: name.to_owned(),
            advertise: SocketAddr::new(host.address(), port),
            certificate: directory.join("apiserver.crt"),
            key: directory.join("apiserver.key"),
            client_ca: self.directory.path().join("ca.crt"),
            state_dir: self.directory.path().join("state"),
            slices: self.plan.slices,
            shutdown_delay: self.plan.shutdown_delay,
        }
    }
}

impl Node {
    /// The node as a place for other programs.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// `controller-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// A program to be run on the node.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> HostCommand<'_> {
        self.host.command(program)
    }
}

fn kubeconfig(directory: &Directory, server: SocketAddr) -> String {
    let file = |name| directory.path().join(name);
    let server = format!("https://{server}");
    pki::kubeconfig(&server, &file("ca.crt"), &file("admin.crt"), &file("admin.key"))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| Error::file(parent, source))?;
    }
    fs::write(path, text).map_err(|source| Error::file(path, source))
}

impl std::fmt::Debug for World {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let virtual_addresses: Vec<String> =
            self.plan.virtual_addresses.iter().map(VirtualAddress::to_string).collect();
        formatter
            .debug_struct("World")
            .field("directory", &self.directory.path())
            .field("virtual_addresses", &virtual_addresses)
            .finish_non_exhaustive()
    }
}
