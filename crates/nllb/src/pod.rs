//! The static pod.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::doors::Doors;
use crate::{envoy, traefik};

/// What pod and container are called; the mirror of it in the API has the node's name behind.
pub(crate) const NAME: &str = "nllb";
/// As whom every pod runs: the kernel lets only processes of one user listen at the same address,
/// which they do while one takes the other's place. Nobody, by Linux' own number.
pub(crate) const USER: u32 = 65534;
/// How long connections of a closed listener may last, in seconds: a day. Then Envoy and Traefik
/// end them.
pub(crate) const DRAIN_SECONDS: u64 = 86_400;
/// The label by which a manifest is ours.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const OURS: &str = "cplb";

/// What runs in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Envoy.
    Envoy,
    /// Traefik, also where there is no Envoy: ARMv7, RISC-V.
    Traefik,
}

/// A container image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Registry and repository: `quay.io/k0sproject/envoy-distroless`.
    pub name: String,
    /// Tag and optional digest: `v1.39.0`.
    pub version: String,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// Never: it has to be there.
    Never,
    /// Where it is missing.
    IfNotPresent,
}

/// A file for the pod.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl Engine {
    /// Whether another may listen at its addresses beside it, and it beside another.
    pub(crate) fn can_share(self, image: &Image) -> bool {
        match self {
            Self::Envoy => true,
            Self::Traefik => traefik::can_share(&image.version),
        }
    }

    /// The directory of the files of its first pod, under the one of all.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Traefik => "traefik",
        }
    }

    /// Its files in the order in which they are written, the one that says who the apiservers are
    /// first.
    pub(crate) fn files(
        self,
        doors: &Doors,
        apiservers: &BTreeSet<SocketAddr>,
        image: &Image,
    ) -> Vec<Part> {
        let part = |name, text| Part { name, text };
        match self {
            Self::Envoy => vec![
                part(envoy::CLUSTERS_FILE, envoy::clusters(doors, apiservers)),
                part(envoy::LISTENERS_FILE, envoy::listeners(doors)),
                part(envoy::BOOTSTRAP_FILE, envoy::bootstrap()),
            ],
            Self::Traefik => {
                let routing = traefik::routing(doors, apiservers, &image.version);
                vec![
                    part(traefik::ROUTING_FILE, routing),
                    part(traefik::INSTALL_FILE, traefik::install(doors, &image.version)),
                ]
            }
        }
    }

    /// What [`Engine::files`] are called.
    pub(crate) const fn file_names(self) -> &'static [&'static str] {
        match self {
            Self::Envoy => &[envoy::CLUSTERS_FILE, envoy::LISTENERS_FILE, envoy::BOOTSTRAP_FILE],
            Self::Traefik => &[traefik::ROUTING_FILE, traefik::INSTALL_FILE],
        }
    }

    /// Where the container sees them.
    pub(crate) const fn container_folder(self) -> &'static str {
        match self {
            Self::Envoy => envoy::FOLDER,
            Self::Traefik => traefik::FOLDER,
        }
    }

    fn arguments(self) -> Vec<String> {
        let drain = DRAIN_SECONDS.to_string();
        let words: &[&str] = match self {
            // Other Envoys on the host share its network namespace, and with it abstract sockets.
            Self::Envoy => {
                &["-c", "/etc/envoy/envoy.yaml", "--use-dynamic-base-id", "--drain-time-s", &drain]
            }
            Self::Traefik => &["--configFile=/etc/traefik/config.yaml"],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envoy => "EnvoyProxy",
            Self::Traefik => "Traefik",
        })
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl PullPolicy {
    const fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::IfNotPresent => "IfNotPresent",
        }
    }
}

/// The manifest of the pod with this name, whose files are in `folder`. Any other text is another pod
/// to the kubelet, which ends the one before: so that of Envoy, which changes its ports by itself,
/// names none. Neither does that of Traefik as the container's: the kubelet would refuse a second
/// pod with the same.
pub(crate) fn manifest(
    name: &str,
    engine: Engine,
    image: &Image,
    pull_policy: PullPolicy,
    doors: &Doors,
    folder: &Path,
) -> Value {
    let mut spec = json!({
        "hostNetwork": true,
        // The class is what the admission of the mirror pod knows, the number what the kubelet
        // goes by when it evicts and shuts down. Without both the pod goes among the first.
        "priorityClassName": "system-node-critical",
        "priority": 2_000_001_000,
        "securityContext": { "runAsNonRoot": true, "runAsUser": USER },
        "containers": [{
            "name": NAME,
            "image": image.to_string(),
            "imagePullPolicy": pull_policy.name(),
            "args": engine.arguments(),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "privileged": false,
                "readOnlyRootFilesystem": true,
            },
            "volumeMounts": [{
                "name": "config",
                "mountPath": engine.container_folder(),
                "readOnly": true,
            }],
        }],
        "volumes": [{
            "name": "config",
            "hostPath": { "path": folder, "type": "Directory" },
        }],
        // A NoExecute taint would evict the mirror pod otherwise.
        "tolerations": [{ "operator": "Exists" }],
    });
    if engine == Engine::Traefik {
        spec["enableServiceLinks"] = false.into();
        // Told to end, it closes its listeners, and ends with its last connection.
        spec["terminationGracePeriodSeconds"] = DRAIN_SECONDS.into();
        let container = &mut spec["containers"][0];
        container["livenessProbe"] = json!({
            "tcpSocket": { "host": doors.loopbacks.first(), "port": doors.apiserver },
            "periodSeconds": 10,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        });
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "labels": {
                "app.kubernetes.io/name": NAME,
                "app.kubernetes.io/component": NAME,
                MANAGED_BY: OURS,
            },
        },
        "spec": spec,
    })
}

/// Whether this is the text of a [`manifest`] of ours.
pub(crate) fn is_ours(text: &str) -> bool {
    serde_json::from_str(text)
        .is_ok_and(|manifest: Value| manifest["metadata"]["labels"][MANAGED_BY] == OURS)
}

/// Whether this is the text of a [`manifest`] whose files are below this directory.
pub(crate) fn is_of(text: &str, directory: &Path) -> bool {
    let below = |manifest: Value| {
        let folder = manifest["spec"]["volumes"][0]["hostPath"]["path"].as_str()?;
        Some(Path::new(folder).starts_with(directory))
    };
    is_ours(text) && serde_json::from_str(text).ok().and_then(below) == Some(true)
}

#[cfg(test)]
mod tests;
