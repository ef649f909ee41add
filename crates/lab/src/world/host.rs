//! A namespace on the switch, and programs run in it.

use std::ffi::OsStr;
use std::io::{self, Read, Seek};
use std::net::IpAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::netns::{self, Namespace};

use super::{HostPlan, Plan, SWITCH};
use crate::Error;

const GLANCE: Duration = Duration::from_millis(5);

/// A place on the switch with addresses of its own.
#[derive(Debug)]
pub struct Host {
    /// `controller-1`, `client` and so on.
    pub name: String,
    /// The network namespace.
    pub namespace: Arc<Namespace>,
    /// Its own addresses, virtual ones not among them.
    pub addresses: Vec<IpAddr>,
    /// The switch's end of its cable.
    pub(super) port: String,
}

impl Host {
    pub(super) fn connect(
        switch: &Namespace,
        name: &str,
        host: &HostPlan,
        plan: &Plan,
    ) -> Result<Self, Error> {
        let namespace = Namespace::new()?;
        let port = port_name(name);
        namespace.run(netns::disable_duplicate_address_detection)??;
        switch.run(|| -> Result<(), kernel::Error> {
            netns::create_veth(&port, &plan.interface, &namespace)?;
            netns::set_master(&port, SWITCH)?;
            netns::set_up(&port)
        })??;
        namespace.run(|| -> Result<(), kernel::Error> {
            for address in &host.addresses {
                netns::add_address(&plan.interface, address)?;
            }
            netns::set_up(&plan.interface)?;
            plan.default_gateways().try_for_each(netns::add_default_route)
        })??;
        Ok(Self {
            name: name.to_owned(),
            namespace: Arc::new(namespace),
            addresses: host.addresses.iter().map(|address| address.address).collect(),
            port,
        })
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// A program to be run here.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> HostCommand<'_> {
        HostCommand { host: self, command: Command::new(program) }
    }
}

/// A program to be run on a host.
#[derive(Debug)]
pub struct HostCommand<'host> {
    host: &'host Host,
    command: Command,
}

impl HostCommand<'_> {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, its input empty and its output as ours. It ends with the calling thread at the latest.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn spawn(mut self) -> io::Result<Child> {
        self.command.stdin(Stdio::null());
        self.host.namespace.spawn(self.command)
    }

    /// Runs it and collects its output.
    ///
    /// # Errors
    /// When it cannot be executed; `TimedOut` when it has not ended within `limit`, it is killed then.
    pub fn output(mut self, limit: Duration) -> io::Result<Output> {
        // Files, not pipes: no reader is needed, however much it writes.
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        self.command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child = self.host.namespace.spawn(self.command)?;
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(GLANCE);
        };
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        stdout.rewind()?;
        stdout.read_to_end(&mut output.stdout)?;
        stderr.rewind()?;
        stderr.read_to_end(&mut output.stderr)?;
        Ok(output)
    }
}

/// Interface names have at most 15 characters (IFNAMSIZ); a long name's end tells it apart.
fn port_name(name: &str) -> String {
    let end: String = name.chars().rev().take(10).collect::<Vec<_>>().into_iter().rev().collect();
    format!("port-{end}")
}
