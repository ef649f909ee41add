//! From a checked document and this machine to what is wanted on a worker node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{ImagePullPolicy, NodeLocalKind, NodeLocalLoadBalancing, ProxyPod};
use nllb::{Doors, Engine, Image, Konnectivity, PullPolicy};

use crate::cli;
use crate::error::Error;

/// Everything a worker is to bring about on this machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Where it listens.
    pub(crate) doors: Doors,
    /// Who balances.
    pub(crate) kind: Kind,
    /// Where the apiservers are to be found.
    pub(crate) backends: backends::Settings,
    /// Where pods have their files, those of earlier runs as well.
    pub(crate) pods: PathBuf,
    /// Where the kubelet finds them, if by a directory.
    pub(crate) manifests: Option<PathBuf>,
}

/// Who balances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This process.
    Builtin,
    /// Envoy or Traefik, in a static pod.
    Pod(nllb::Settings),
}

impl Plan {
    /// Looks for loopback addresses, and refuses what cannot be done here. Changes nothing.
    pub(crate) fn new(
        settings: &config::Settings,
        arguments: &cli::Worker,
        run_dir: &Path,
    ) -> Result<Self, Error> {
        let wanted = wanted(settings, arguments)?;
        let balancer = arguments.balancer.unwrap_or(match wanted.kind {
            NodeLocalKind::Builtin => cli::Balancer::Builtin,
            NodeLocalKind::EnvoyProxy => cli::Balancer::EnvoyProxy,
            NodeLocalKind::Traefik => cli::Balancer::Traefik,
        });
        let ports = match balancer {
            cli::Balancer::Builtin => wanted.builtin,
            cli::Balancer::EnvoyProxy => wanted.envoy_proxy.ports,
            cli::Balancer::Traefik => wanted.traefik.ports,
        };
        let loopbacks = nllb::loopbacks();
        if loopbacks.is_empty() {
            return Err(Error::Unsupported(
                "this machine has neither 127.0.0.1 nor ::1: bring the interface lo up".into(),
            ));
        }
        let konnectivity = (!arguments.no_konnectivity).then_some(Konnectivity {
            port: ports.konnectivity_server,
            server_port: settings.konnectivity.agent_port,
        });
        let doors = Doors { loopbacks, apiserver: ports.api_server, konnectivity };
        let pods = std::path::absolute(pod_directory(run_dir))?;
        let manifests = arguments.manifest_dir.as_deref().map(std::path::absolute).transpose()?;
        let pod = |engine, pod| {
            let directories = (pods.clone(), manifests.clone());
            pod_settings(engine, pod, &doors, arguments, directories)
        };
        let kind = match balancer {
            cli::Balancer::Builtin => Kind::Builtin,
            cli::Balancer::EnvoyProxy => Kind::Pod(pod(Engine::Envoy, &wanted.envoy_proxy)?),
            cli::Balancer::Traefik => Kind::Pod(pod(Engine::Traefik, &wanted.traefik)?),
        };
        let backends = backends(settings, arguments, &doors);
        Ok(Self { doors, kind, backends, pods, manifests })
    }

    /// The door that kubeconfigs lead through.
    pub(crate) fn door(&self) -> SocketAddr {
        // There is one: see `new`.
        self.doors.apiserver_addresses()[0]
    }
}

/// The block to bring about, or what stands against it.
fn wanted<'a>(
    settings: &'a config::Settings,
    arguments: &cli::Worker,
) -> Result<&'a NodeLocalLoadBalancing, Error> {
    let enabled = settings.node_local_load_balancing.as_ref().filter(|it| it.enabled);
    enabled.ok_or_else(|| {
        Error::Unsupported(format!(
            "{}: nodeLocalLoadBalancing is not enabled, so there is nothing to do: set enabled: true in spec.network.nodeLocalLoadBalancing",
            arguments.config.display()
        ))
    })
}

fn pod_settings(
    engine: Engine,
    pod: &ProxyPod,
    doors: &Doors,
    arguments: &cli::Worker,
    (directory, manifest_directory): (PathBuf, Option<PathBuf>),
) -> Result<nllb::Settings, Error> {
    if manifest_directory.is_none() && arguments.manifest_listen.is_none() {
        return Err(Error::Unsupported(format!(
            "{}: type {engine} is a static pod, and the kubelet has to find it: say --manifest-dir (kubeadm: /etc/kubernetes/manifests), or --manifest-listen 127.0.0.1:PORT and staticPodURL in the kubelet's configuration; or say --balancer builtin, which needs neither pod nor image",
            arguments.config.display()
        )));
    }
    Ok(nllb::Settings {
        engine,
        image: Image { name: pod.image.image.clone(), version: pod.image.version.clone() },
        pull_policy: match pod.image_pull_policy {
            ImagePullPolicy::Always => PullPolicy::Always,
            ImagePullPolicy::Never => PullPolicy::Never,
            ImagePullPolicy::IfNotPresent => PullPolicy::IfNotPresent,
        },
        doors: doors.clone(),
        directory,
        manifest_directory,
    })
}

fn backends(
    settings: &config::Settings,
    arguments: &cli::Worker,
    doors: &Doors,
) -> backends::Settings {
    let cplb = settings.control_plane_load_balancing.as_ref();
    let virtual_ips = cplb.into_iter().flat_map(|it| &it.vrrp_instances);
    backends::Settings {
        kubeconfig: Some(arguments.kubeconfig.clone()),
        kubeconfig_may_appear: arguments.wait_for_kubeconfig
            || arguments.bootstrap_kubeconfig.is_some(),
        kubeconfig_may_fail: true,
        bootstrap_kubeconfig: arguments.bootstrap_kubeconfig.clone(),
        static_servers: arguments.apiservers.clone(),
        cache: Some(cache(&arguments.state_dir)),
        virtual_addresses: virtual_ips
            .flat_map(|it| &it.virtual_ips)
            .map(|cidr| cidr.address)
            .collect(),
        proxy_port: doors.apiserver,
        ..backends::Settings::default()
    }
}

/// Above the files of Envoy and Traefik.
pub(crate) fn pod_directory(run_dir: &Path) -> PathBuf {
    run_dir.join("nllb")
}

/// Where the last known list of apiservers is kept.
fn cache(state_dir: &Path) -> PathBuf {
    state_dir.join("apiservers.json")
}

#[cfg(test)]
mod tests;
