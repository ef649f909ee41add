//! Node-local load balancing: what Envoy and Traefik need on a worker node, and the kubeconfig that leads through the balancer.
//!
//! - `envoy`, `traefik` and `pod` say what stands in the files and in the manifest of the static
//!   pod. Pure.
//! - [`Deployment`] writes and replaces those files, [`Manifests`] offers the manifest to the
//!   kubelet over HTTP.
//! - [`Leaving`] is a pod whose place is taken, [`Presence`] what is seen of one at work, [`share`] and
//!   [`listen_beside`] let a pod and this process listen at the same address.
//! - [`through_balancer`] rewrites a kubeconfig, [`loopbacks`] says where a balancer can listen.
//! - [`remove_manifests`], [`remove_orphans`], [`remove_kubeconfig`] and [`remove_pod_files`] clean up.
//!
//! Who the apiservers are and the type `Builtin` are no concern of this crate: the first is told to
//! it, the second is `crates/proxy`.

mod deployment;
mod doors;
mod envoy;
mod error;
mod files;
mod kubeconfig;
mod leaving;
mod leftovers;
mod loopback;
mod manifests;
mod pod;
mod presence;
mod record;
mod sharing;
mod sockets;
mod traefik;

pub use deployment::{Deployment, Settings};
pub use doors::{Doors, Konnectivity};
pub use error::Error;
pub use files::write_private;
pub use kubeconfig::{SERVICE_NAME, through_balancer};
pub use leaving::Leaving;
pub use leftovers::{
    Removal, remove_kubeconfig, remove_manifests, remove_orphans, remove_pod_files,
};
pub use loopback::loopbacks;
pub use manifests::Manifests;
pub use pod::{Engine, Image, PullPolicy};
pub use presence::Presence;
pub use record::manifest_file;
pub use sharing::{keep, listen_beside, share};
