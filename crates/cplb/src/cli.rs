use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::error::Error;

/// A highly available Kubernetes control plane without an external load balancer.
///
/// A virtual IP floats between the control plane nodes by VRRP, and every connection to it is
/// passed on to one healthy kube-apiserver, round robin, TLS untouched. The configuration is the
/// k0s.yaml or k0sctl.yaml that k0s reads; any other distribution works with the same document.
///
/// Try it without touching anything: `cplb lab`.
#[derive(Debug, Parser)]
#[command(name = "cplb", version, propagate_version = true)]
#[command(
    after_help = "Exit codes (sysexits.h): 0 success; 1 validate, doctor or lab found something; 2 wrong usage; \
    65 unreadable input; 69 not available (port in use, other instance, address taken, daemon not running); \
    71 system error; 77 no permission; 78 wrong configuration"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// What is logged, to standard error
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "info",
        env = "CPLB_LOG_LEVEL"
    )]
    pub(crate) log_level: tracing::Level,
    /// How it is logged
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Controller(Controller),
    Worker(Worker),
    Proxy(Proxy),
    Validate(Validate),
    Status(Status),
    Upgrade(Upgrade),
    Scan(Scan),
    Doctor(Doctor),
    Cleanup(Cleanup),
    KeepalivedConfig(KeepalivedConfig),
    #[command(hide = true)]
    KeepalivedSetstate(KeepalivedSetstate),
    #[command(hide = true)]
    KeepalivedWatchdog(KeepalivedWatchdog),
    Lab(Lab),
    #[command(hide = true)]
    LabApiserver(LabApiserver),
    /// Print shell completions
    Completion {
        /// For this shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

/// Run on a control plane node: virtual IPs, load balancer, discovery
///
/// Runs in the foreground. SIGTERM or SIGINT hands the virtual IPs over before it stops, a second
/// one stops at once. SIGHUP reads the configuration again, SIGUSR2 has a new process go on in place
/// of this one (see `cplb upgrade`).
///
/// Example: cplb controller --config /etc/k0s/k0s.yaml --kubeconfig /var/lib/k0s/pki/admin.conf
#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// The k0s ClusterConfig or k0sctl Cluster
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Credentials to read the `kubernetes` endpoints; without, only --apiserver and the last known list are used
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Start although the kubeconfig does not exist yet, and read it when it appears
    #[arg(long)]
    pub(crate) wait_for_kubeconfig: bool,
    /// An apiserver known beforehand; may be repeated. With `disableLoadBalancer` it names a control plane node, so that equal heirs claim one after the other, the first without delay
    #[arg(long = "apiserver", value_name = "IP:PORT")]
    pub(crate) apiservers: Vec<SocketAddr>,
    /// Holds the admin socket and the lock
    #[arg(long, value_name = "DIR", default_value = "/run/cplb")]
    pub(crate) run_dir: PathBuf,
    /// Holds the last known list of apiservers over a reboot
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cplb")]
    pub(crate) state_dir: PathBuf,
    /// Serve the status page, /livez, /readyz, /metrics and /status read-only over TCP as well
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Who speaks VRRP, overriding `type:` of the configuration
    #[arg(long, value_name = "ENGINE")]
    pub(crate) vrrp: Option<VrrpEngine>,
    /// For `type: Keepalived`, its program [default: the one on PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) keepalived_bin: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VrrpEngine {
    /// cplb itself
    Builtin,
    /// A keepalived process
    Keepalived,
}

/// Run on a worker node: the apiservers on loopback, whichever of them live
///
/// Serves the apiservers on 127.0.0.1:7443 and `[::1]:7443` and the konnectivity servers on port 7132,
/// from the first second, and writes the kubeconfig by which kubelet and kube-proxy go there. The
/// apiservers are the endpoints of the `kubernetes` service, read through whichever of them answers
/// and kept on disk. Runs in the foreground; SIGHUP reads the configuration again.
///
/// Example: cplb worker --config /etc/cplb.yaml --kubeconfig /etc/kubernetes/kubelet.conf
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The k0s ClusterConfig or k0sctl Cluster
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Credentials to read the `kubernetes` endpoints: the kubelet's will do
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: PathBuf,
    /// Used while the kubeconfig does not exist: that of the bootstrap token, before the node is registered
    #[arg(long, value_name = "FILE")]
    pub(crate) bootstrap_kubeconfig: Option<PathBuf>,
    /// Start although the kubeconfig does not exist yet, and read it when it appears
    #[arg(long)]
    pub(crate) wait_for_kubeconfig: bool,
    /// An apiserver known beforehand; may be repeated
    #[arg(long = "apiserver", value_name = "IP:PORT")]
    pub(crate) apiservers: Vec<SocketAddr>,
    /// Where to write the kubeconfig that leads through the balancer [default: kubeconfig.yaml in the run directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) write_kubeconfig: Option<PathBuf>,
    /// The name to expect in the apiservers' certificates [default: that of the kubeconfig, or kubernetes.default.svc]
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// Who balances, overriding `type:` of the configuration
    #[arg(long, value_name = "TYPE")]
    pub(crate) balancer: Option<Balancer>,
    /// Where the kubelet looks for static pods, for the types EnvoyProxy and Traefik (kubeadm: /etc/kubernetes/manifests)
    #[arg(long, value_name = "DIR")]
    pub(crate) manifest_dir: Option<PathBuf>,
    /// Serve the static pod at http://IP:PORT/manifests, for the kubelet's staticPodURL; loopback only
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) manifest_listen: Option<SocketAddr>,
    /// Serve no konnectivity: for clusters without it
    #[arg(long)]
    pub(crate) no_konnectivity: bool,
    /// How long open connections may last after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// Holds the admin socket, the lock, the kubeconfig and the files of Envoy and Traefik
    #[arg(long, value_name = "DIR", default_value = "/run/cplb/worker")]
    pub(crate) run_dir: PathBuf,
    /// Holds the last known list of apiservers over a reboot
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cplb/worker")]
    pub(crate) state_dir: PathBuf,
    /// Serve the status page, /metrics, /livez, /readyz and /status read-only over TCP as well
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) admin_listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Balancer {
    /// This process
    Builtin,
    /// Envoy, in a static pod
    EnvoyProxy,
    /// Traefik, in a static pod
    Traefik,
}

/// Run the TCP load balancer alone: no virtual IP, no Kubernetes
///
/// Each connection goes to one backend, round robin unless told otherwise; one that refuses, hangs or
/// stays silent costs the client nothing while another one answers.
///
/// Example: cplb proxy --listen 0.0.0.0:6444 --backend 10.0.0.11:6443 --backend 10.0.0.12:6443
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Where to listen; may be repeated. The IPv6 wildcard address takes IPv4 too
    #[arg(long, value_name = "IP:PORT", required = true)]
    pub(crate) listen: Vec<SocketAddr>,
    /// A backend; may be repeated
    #[arg(long, value_name = "IP:PORT", required = true)]
    pub(crate) backend: Vec<SocketAddr>,
    /// Which backend a connection goes to
    #[arg(long, value_name = "CHOICE", default_value = "round-robin")]
    pub(crate) balance: Balance,
    /// Tell the backends who the client is, before its first byte; all of them must expect it, which
    /// kube-apiserver does not (HAProxy: accept-proxy; nginx: proxy_protocol)
    #[arg(long, value_name = "VERSION")]
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// Most connections at once, further ones are reset; two descriptors each, so that the limit of the
    /// process counts as well
    #[arg(long, value_name = "NUMBER", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Most connections at once from one IP address, further ones are reset; clients behind address
    /// translation share one [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_source: Option<u32>,
    /// A network that clients may come from, such as 10.0.0.0/8, others are reset; may be repeated
    /// [default: everybody may]
    #[arg(long = "allow-from", value_name = "NETWORK")]
    pub(crate) allow_from: Vec<proxy::Network>,
    /// How long open connections may last after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Balance {
    /// All in turn, exactly even
    RoundRobin,
    /// The one with the fewest connections, equal ones in turn
    LeastConnections,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyProtocol {
    /// A line of text
    V1,
    /// Binary
    V2,
}

/// Check a configuration, without touching the machine
///
/// Every error is shown as file:line:column with a hint. Exit code 0 if it can be used, 1 if not.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The k0s ClusterConfig or k0sctl Cluster; may be repeated
    #[arg(long, short, value_name = "FILE", required = true)]
    pub(crate) config: Vec<PathBuf>,
}

/// Show what the running daemon does: who holds the virtual IP and why, which apiservers answer
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Of the daemon with this run directory
    #[arg(long, value_name = "DIR", default_value = "/run/cplb")]
    pub(crate) run_dir: PathBuf,
    /// For people or for programs
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
    /// Show it again every second
    #[arg(long, short)]
    pub(crate) watch: bool,
}

/// Let the running controller go on as a new process: another version, with no move of the virtual IP
///
/// The controller starts the program that is on disk now, with the arguments that it was started
/// with. Once that has read its configuration, reaches an apiserver and is ready to serve, it gets
/// the virtual routers, the listening sockets and the redirect: no address moves, no connection is
/// lost. The old process serves its connections until they end or drainTimeout is over. If anything
/// goes wrong before, the old process goes on and nothing has changed. SIGUSR2 does the same.
///
/// For `type: Builtin` with the load balancer's own proxy; with Keepalived or virtualServers restart
/// the daemon, which hands the virtual IP over.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// Of the controller with this run directory
    #[arg(long, value_name = "DIR", default_value = "/run/cplb")]
    pub(crate) run_dir: PathBuf,
    /// How long the new process may take to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) within: u16,
}

/// Show who speaks VRRP on this network, without taking part
///
/// Versions 2 and 3, IPv4 and IPv6. What this host itself sends is not heard: `cplb status` tells.
/// Needs root or CAP_NET_RAW.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Listen on this interface [default: every Ethernet interface that is up]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// How long to listen; routers of long intervals take longer to be heard
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub(crate) seconds: u16,
    /// Of the daemon whose virtual routers are marked as ours
    #[arg(long, value_name = "DIR", default_value = "/run/cplb")]
    pub(crate) run_dir: PathBuf,
    /// For people or for programs
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// Find what could go wrong on this host and network, and say what to do
///
/// Other speakers on the virtual router, a stranger with the virtual IP, missing names in the
/// apiserver's certificate, leftovers and much more. Changes nothing. Takes some seconds; run it as
/// root, also before the first start. Exit code 0 without errors, 1 with.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The k0s ClusterConfig or k0sctl Cluster; without, what the running daemon does is checked
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Credentials to read the cluster's endpoints and nodes
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Of the daemon with this run directory
    #[arg(long, value_name = "DIR", default_value = "/run/cplb")]
    pub(crate) run_dir: PathBuf,
    /// For people or for programs
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// Remove everything that cplb put into the kernel: addresses, firewall rules
///
/// Only needed where a kernel is too old to do it by itself. Safe to repeat; refuses to touch what
/// a running daemon needs.
///
/// With --worker instead: the files that `cplb worker` wrote and leaves when it stops, so that
/// kubelet and pod go on meanwhile. Lead the kubelet elsewhere before.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Remove what `cplb worker` wrote: the static pod with its files, the kubeconfigs
    #[arg(long)]
    pub(crate) worker: bool,
    /// Of the daemon with this run directory (with --worker /run/cplb/worker)
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/run/cplb",
        default_value_if("worker", "true", "/run/cplb/worker")
    )]
    pub(crate) run_dir: PathBuf,
    /// The state directory of that worker, which tells what it wrote
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cplb/worker", requires = "worker")]
    pub(crate) state_dir: PathBuf,
}

/// Print the built-in keepalived templates, to begin custom ones with
///
/// They are Go templates (text/template) with the variables of k0s, for `type: Keepalived`: give
/// the changed file as configTemplateVRRP or configTemplateVS. Templates of k0s work as well. What
/// cplb itself needs is added to any template: the notify FIFO, and a track_file in each
/// vrrp_instance that has none, so that the virtual IP follows readiness.
///
/// Example: cplb keepalived-config vrrp > /etc/cplb/vrrp.conf
#[derive(Debug, Args)]
pub(crate) struct KeepalivedConfig {
    /// Which one
    #[arg(value_name = "TEMPLATE")]
    pub(crate) template: KeepalivedTemplate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepalivedTemplate {
    /// Virtual routers (configTemplateVRRP)
    Vrrp,
    /// IPVS services (configTemplateVS)
    Virtualservers,
}

/// What templates of k0s have keepalived call at each transition; does nothing
///
/// The daemon follows keepalived by its notify FIFO, in order, and for any number of instances.
#[derive(Debug, Args)]
pub(crate) struct KeepalivedSetstate {
    /// The run directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// MASTER or BACKUP
    #[arg(long, short, value_name = "STATE")]
    pub(crate) state: Option<String>,
}

/// What the daemon runs beside keepalived, with a socket as standard input
///
/// Tells keepalived that this node is not ready when the daemon is frozen or hangs.
#[derive(Debug, Args)]
pub(crate) struct KeepalivedWatchdog {
    /// The run directory
    #[arg(value_name = "DIR")]
    pub(crate) run_dir: PathBuf,
}

/// Try the whole system on this machine: three controllers, their apiservers and a client, live
///
/// Everything runs in network namespaces that vanish with it; nothing of this machine's network is
/// touched, and root is not needed where user namespaces are allowed.
#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// The k0s ClusterConfig or k0sctl Cluster that the controllers read [default: a k0sctl example with the virtual IP 10.0.0.100/24]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Who speaks VRRP on the controllers, whatever the configuration says
    #[arg(long, value_name = "ENGINE", default_value = "builtin")]
    pub(crate) vrrp: VrrpEngine,
    /// Play a scenario: a file, or the name of a built-in one (failover)
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) scenario: Option<String>,
    /// Play the built-in scenario, print timeline and verdict, exit 0 or 1
    #[arg(long)]
    pub(crate) batch: bool,
    /// End after this time, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<u64>,
    /// Time between two requests of the client, in milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 5)]
    pub(crate) request_interval: u64,
    /// For people or for programs
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// The stand-in apiserver of the lab
#[derive(Debug, Args)]
pub(crate) struct LabApiserver {
    #[arg(long)]
    pub(crate) options: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line an event, for people and journals
    Text,
    /// One JSON object an event
    Json,
}

pub(crate) fn print_completion(shell: clap_complete::Shell) -> Result<(), Error> {
    clap_complete::generate(shell, &mut Cli::command(), "cplb", &mut io::stdout());
    Ok(())
}

pub(crate) fn print_man() -> Result<(), Error> {
    Ok(clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
