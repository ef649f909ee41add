//! Node-local load balancing: what Envoy and Traefik need on a worker node, and the kubeconfig that leads through the balancer.
//!
//! - `envoy`, `traefik` and `pod` say what stands in the files and in the manifest of the static
//!   pod. Pure.
//! - [`Deployment`] writes and replaces those files, [`Manifests`] offers the manifest to the
//!   kubelet over HTTP.
//! - [`through_balancer`] rewrites a kubeconfig, [`loopbacks`] says where a balancer can listen.
//! - [`remove_manifest`], [`remove_kubeconfig`] and [`remove_pod_files`] clean up.
//!
//! Who the apiservers are and the type `Builtin` are no concern of this crate: the first is told to
//! it, the second is `crates/proxy`.

mod deployment;
mod doors;
mod envoy;
mod error;
mod files;
mod kubeconfig;
mod leftovers;
mod loopback;
mod manifests;
mod pod;
mod traefik;

pub use deployment::{Deployment, Settings, manifest_file};
pub use doors::{Doors, Konnectivity};
pub use error::Error;
pub use files::write_private;
pub use kubeconfig::{SERVICE_NAME, through_balancer};
pub use leftovers::{Removal, remove_kubeconfig, remove_manifest, remove_pod_files};
pub use loopback::loopbacks;
pub use manifests::Manifests;
pub use pod::{Engine, Image, PullPolicy};
