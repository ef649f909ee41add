use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::error::Error;
use crate::lan::{BACKENDS, Lan, PROXY, SPLICED};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    Cplb,
    Haproxy,
    Nginx,
    Envoy,
    Go,
}

/// A proxy at work. It ends with this value.
pub(crate) struct Running {
    child: Child,
}

/// Where the programs that no Debian package has are installed.
pub(crate) struct Programs {
    pub(crate) directory: PathBuf,
}

/// The argument by which this program is the proxy that is measured.
pub(crate) const AS_PROXY: &str = "as-proxy";

/// What the others get, unless told otherwise: one for each processor of the machine that the
/// figures are from.
pub(crate) const THREADS: u32 = 2;

/// A proxy listens by then.
const START: Duration = Duration::from_secs(10);

impl Peer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Cplb, Self::Haproxy, Self::Nginx, Self::Envoy, Self::Go];

    /// Its name as its users write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cplb => "cplb",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Go => "Go io.Copy",
        }
    }

    /// Where it takes bulk. HAProxy splices everything there, which small exchanges would suffer
    /// from and its own heuristics (splice-auto) seldom do.
    pub(crate) const fn bulk(self) -> SocketAddr {
        match self {
            Self::Haproxy => SPLICED,
            _ => PROXY,
        }
    }

    /// What it says of itself.
    pub(crate) fn version(self, programs: &Programs) -> Result<String, Error> {
        let (program, argument) = match self {
            Self::Cplb => return Ok(format!("cplb {}", env!("CARGO_PKG_VERSION"))),
            Self::Haproxy => (PathBuf::from("haproxy"), "-v"),
            Self::Nginx => (PathBuf::from("nginx"), "-v"),
            Self::Envoy => (programs.envoy(), "--version"),
            Self::Go => (programs.go(), "version"),
        };
        let missing = || Error::Missing { program: program.display().to_string() };
        let output = Command::new(&program).arg(argument).output().map_err(|_| missing())?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        Ok(format!("{}: {line}", self.name()))
    }

    /// Starts it in the middle of the LAN and waits until it listens. Its files go to `directory`.
    pub(crate) fn start(
        self,
        lan: &Lan,
        programs: &Programs,
        threads: Option<u32>,
        directory: &Path,
    ) -> Result<Running, Error> {
        let mut command = self.command(programs, threads, directory)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = lan.proxy.spawn(command).map_err(Error::system("the start of a proxy"))?;
        let mut running = Running { child };
        let begin = Instant::now();
        while lan.client.run(|| TcpStream::connect(PROXY))?.is_err() {
            if let Ok(Some(status)) = running.child.try_wait() {
                let why = format!("it ended with {status}");
                return Err(Error::NotServing { proxy: self.name(), why });
            }
            if begin.elapsed() > START {
                let why = format!("nothing listens after {START:?}");
                return Err(Error::NotServing { proxy: self.name(), why });
            }
            sleep(Duration::from_millis(20));
        }
        // What it does once it has started is over by then.
        sleep(Duration::from_millis(500));
        Ok(running)
    }

    fn command(
        self,
        programs: &Programs,
        own_threads: Option<u32>,
        directory: &Path,
    ) -> Result<Command, Error> {
        let [first, second] = BACKENDS;
        let threads = own_threads.unwrap_or(THREADS);
        let path = directory.join(format!("{self:?}"));
        let write = |text: String| fs::write(&path, text).map_err(Error::system("a file"));
        match self {
            Self::Cplb => {
                let own = std::env::current_exe().map_err(Error::system("the own program"))?;
                let mut command = Command::new(own);
                command.arg(AS_PROXY).args(own_threads.map(|it| it.to_string()));
                Ok(command)
            }
            Self::Haproxy => {
                write(format!(
                    "global\n nbthread {threads}\n maxconn 9500\n maxpipes 200\n\
                     defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n \
                     option splice-auto\n maxconn 9500\n\
                     listen api\n bind {PROXY}\n balance roundrobin\n \
                     server first {first}\n server second {second}\n\
                     listen bulk\n bind {SPLICED}\n option splice-request\n option splice-response\n \
                     balance roundrobin\n server first {first}\n server second {second}\n"
                ))?;
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(path);
                Ok(command)
            }
            Self::Nginx => {
                let own = directory.display();
                write(format!(
                    "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
                     daemon off; worker_processes {threads}; worker_rlimit_nofile 20000; pid {own}/nginx.pid; user root;\n\
                     error_log {own}/nginx.log emerg;\n\
                     events {{ worker_connections 20000; }}\n\
                     stream {{\n upstream api {{ server {first}; server {second}; }}\n \
                     server {{ listen {PROXY} reuseport backlog=4096; proxy_pass api; proxy_timeout 1h; }}\n}}\n"
                ))?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(directory).arg("-c").arg(path);
                Ok(command)
            }
            Self::Envoy => {
                let socket = |address: SocketAddr| {
                    let (host, port) = (address.ip(), address.port());
                    format!("{{socket_address: {{address: {host}, port_value: {port}}}}}")
                };
                let endpoint = |address| format!("{{endpoint: {{address: {}}}}}", socket(address));
                write(format!(
                    "static_resources:\n  listeners:\n  - name: api\n    address: {}\n    filter_chains:\n    \
                     - filters:\n      - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \
                     \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          \
                     stat_prefix: api\n          cluster: api\n          idle_timeout: 0s\n  clusters:\n  \
                     - name: api\n    type: STATIC\n    connect_timeout: 5s\n    lb_policy: ROUND_ROBIN\n    \
                     circuit_breakers: {{thresholds: [{{max_connections: 20000, max_pending_requests: 20000}}]}}\n    \
                     load_assignment:\n      cluster_name: api\n      endpoints:\n      - lb_endpoints: [{}, {}]\n",
                    socket(PROXY),
                    endpoint(first),
                    endpoint(second),
                ))?;
                let mut command = Command::new(programs.envoy());
                command.arg("--concurrency").arg(threads.to_string());
                command.args(["--disable-hot-restart", "--log-level", "off"]);
                command.arg("--config-yaml").arg(fs::read_to_string(&path).unwrap_or_default());
                Ok(command)
            }
            Self::Go => {
                let mut command = Command::new(programs.go_proxy());
                command.arg(PROXY.to_string()).args(BACKENDS.map(|it| it.to_string()));
                command.env("GOMAXPROCS", threads.to_string());
                Ok(command)
            }
        }
    }
}

impl Running {
    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let terminate = |child: &Child| {
            let process = rustix::process::Pid::from_child(child);
            rustix::process::kill_process(process, rustix::process::Signal::TERM)
        };
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            // nginx's workers end by their master's word only, so it must not be killed at once.
            let _ = match begin.elapsed() > Duration::from_secs(2) {
                true => self.child.kill().map_err(|_| rustix::io::Errno::SRCH),
                false => terminate(&self.child),
            };
            sleep(Duration::from_millis(20));
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
