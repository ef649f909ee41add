use std::error::Error;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lab::world::{Daemon, Launch, World};

use crate::k0s;

const CPLB: &str = env!("CARGO_BIN_EXE_cplb");

/// What stands between the client and the apiservers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Balancer {
    /// `cplb worker`, type Builtin.
    Builtin,
    /// Envoy by the files of `cplb worker`, type EnvoyProxy.
    Envoy(PathBuf),
    /// Envoy by the files of k0s.
    EnvoyAsK0s(PathBuf),
}

/// The processes of a balancer, on the first host that was added to the world.
pub(crate) struct Running(#[expect(dead_code, reason = "they end when dropped")] Vec<Daemon>);

impl Balancer {
    pub(crate) fn all(envoy: Option<&Path>) -> Vec<Self> {
        let envoys = envoy.into_iter().map(Path::to_owned);
        let envoys = envoys.flat_map(|it| [Self::Envoy(it.clone()), Self::EnvoyAsK0s(it)]);
        std::iter::once(Self::Builtin).chain(envoys).collect()
    }

    pub(crate) fn start(&self, world: &World) -> Result<Running, Box<dyn Error>> {
        let worker = world.directory().join("worker");
        fs::create_dir_all(worker.join("manifests"))?;
        let document = |kind: &str| {
            let text = format!(
                "spec: {{ network: {{ nodeLocalLoadBalancing: {{ enabled: true, type: {kind} }} }} }}\n"
            );
            fs::write(worker.join("config.yaml"), text)
        };
        Ok(Running(match self {
            Self::Builtin => {
                document("Builtin")?;
                vec![start("worker", cplb(world, &worker), world)?]
            }
            Self::Envoy(program) => {
                document("EnvoyProxy")?;
                let launch =
                    cplb(world, &worker).option("--manifest-dir", worker.join("manifests"));
                let daemon = start("worker", launch, world)?;
                let files = worker.join("run/nllb/envoy");
                while !files.join("envoy.yaml").exists() {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                vec![daemon, start("envoy", envoy(program, &files), world)?]
            }
            Self::EnvoyAsK0s(program) => {
                let nodes = world.nodes().iter();
                let apiservers: Vec<_> =
                    nodes.map(|node| SocketAddr::new(node.host().address(), 6443)).collect();
                fs::write(worker.join("envoy.yaml"), k0s::BOOTSTRAP)?;
                fs::write(worker.join("cds.yaml"), k0s::clusters(&apiservers))?;
                vec![start("envoy", envoy(program, &worker), world)?]
            }
        }))
    }
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Builtin => "builtin",
            Self::Envoy(_) => "envoy",
            Self::EnvoyAsK0s(_) => "envoy as k0s",
        })
    }
}

fn cplb(world: &World, worker: &Path) -> Launch {
    Launch::new(CPLB)
        .argument("worker")
        .option("--config", worker.join("config.yaml"))
        .option("--kubeconfig", world.directory().join("controller-1/admin.conf"))
        .arguments(world.nodes().iter().flat_map(|node| {
            ["--apiserver".to_owned(), SocketAddr::new(node.host().address(), 6443).to_string()]
        }))
        .option("--run-dir", worker.join("run"))
        .option("--state-dir", worker.join("state"))
}

/// With its files at the place that a container would see them.
fn envoy(program: &Path, files: &Path) -> Launch {
    let script = r#"mount -t tmpfs none /etc && mkdir /etc/envoy && mount --bind "$1" /etc/envoy && exec "$2" -c /etc/envoy/envoy.yaml --use-dynamic-base-id"#;
    Launch::new("unshare")
        .arguments(["--mount", "sh", "-c", script, "sh"])
        .argument(files)
        .argument(program)
}

fn start(name: &str, launch: Launch, world: &World) -> Result<Daemon, lab::Error> {
    let log = world.directory().join(format!("{name}.log"));
    let mut daemon = Daemon::new(name.to_owned(), launch, &world.others()[0], log);
    daemon.start()?;
    Ok(daemon)
}
