//! The documents people start from.

use config::{ControlPlaneKind, NodeLocalKind, Settings, load};

use crate::{accept, check};

const IPVS: &str = include_str!("../../../../examples/k0s-ipvs.yaml");
const USER_SPACE: &str = include_str!("../../../../examples/k0s-userspace.yaml");
const K0SCTL: &str = include_str!("../../../../examples/k0sctl-cplb.yaml");
const K0SCTL_NODE_LOCAL: &str = include_str!("../../../../examples/k0sctl-cplb-nllb.yaml");

pub(crate) const ALL: [&str; 4] = [IPVS, USER_SPACE, K0SCTL, K0SCTL_NODE_LOCAL];

/// The virtual IP that all examples share.
fn assert_virtual_ip(settings: &Settings) {
    let cplb = settings.control_plane_load_balancing.as_ref().expect("the block is there");
    assert!(cplb.enabled);
    assert_eq!(cplb.kind, ControlPlaneKind::Keepalived);
    assert_eq!(cplb.vrrp_instances.len(), 1);
    assert_eq!(cplb.vrrp_instances[0].virtual_ips[0].to_string(), "10.0.0.100/24");
    assert_eq!(cplb.vrrp_instances[0].auth_pass, "BuyK0s");
}

#[test]
fn user_space_proxy() {
    let settings = accept(USER_SPACE);
    assert_virtual_ip(&settings);
    assert_eq!(settings.api, config::Api::default());
    assert_eq!(settings.node_local_load_balancing, None);
}

#[test]
fn virtual_servers() {
    let settings = accept(IPVS);
    assert_virtual_ip(&settings);
    let cplb = settings.control_plane_load_balancing.expect("the block is there");
    assert_eq!(cplb.virtual_servers[0].ip_address, std::net::IpAddr::from([10, 0, 0, 100]));
}

#[test]
fn k0sctl_with_external_address() {
    let settings = accept(K0SCTL);
    assert_virtual_ip(&settings);
    assert_eq!(settings.api.external_address.as_deref(), Some("10.0.0.100"));
}

/// As an article prints it, with `network` directly under `config`.
#[test]
fn k0sctl_without_spec() {
    check(
        K0SCTL_NODE_LOCAL,
        &[
            "k0s.yaml:22:9: warning: network stands directly under config; it is read as spec.network",
        ],
    );
    let settings = load("k0sctl.yaml", K0SCTL_NODE_LOCAL).settings.expect("only a warning");
    assert_virtual_ip(&settings);
    let node_local = settings.node_local_load_balancing.expect("the block is there");
    assert!(node_local.enabled);
    assert_eq!(node_local.kind, NodeLocalKind::EnvoyProxy);
}
