//! The shapes a configuration comes in, and texts that are none.

use config::{Position, load};

use crate::{accept, check};

const SPEC: &str = "{network: {controlPlaneLoadBalancing: {keepalived: {vrrpInstances: [{virtualIPs: [10.0.0.1/24], \
                    authPass: a, virtualRouterID: 9}]}}}}";

/// Whether the router of [`SPEC`] was read.
#[track_caller]
fn assert_read(text: &str) {
    let block = accept(text).control_plane_load_balancing.expect("the block is there");
    assert_eq!(block.vrrp_instances[0].virtual_router_id, 9);
}

#[test]
fn accepted_shapes() {
    assert_read(&format!("spec: {SPEC}"));
    assert_read(&format!(
        "apiVersion: k0s.k0sproject.io/v1beta1\nkind: ClusterConfig\nspec: {SPEC}"
    ));
    assert_read(&format!("kind: ClusterConfig\nspec: {SPEC}"));
    assert_read(&format!(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {{k0s: {{config: {{spec: {SPEC}}}}}}}"
    ));
    assert_read(&format!(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {{k0s: {{config: {{apiVersion: \
         k0s.k0sproject.io/v1beta1, kind: ClusterConfig, spec: {SPEC}}}}}}}"
    ));
    // A second document, as k0sctl takes it, and others that concern nobody here.
    assert_read(&format!(
        "---\napiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {{hosts: []}}\n---\n- a list\n---\n\
         apiVersion: v1\nkind: ConfigMap\nspec: 7\n---\napiVersion: k0s.k0sproject.io/v1beta1\nkind: \
         ClusterConfig\nspec: {SPEC}\n"
    ));
}

#[test]
fn aliases_and_merge_keys() {
    assert_read(&format!("x: &spec {SPEC}\nspec: *spec"));
    assert_read(&format!("x: &base {SPEC}\nspec: {{<<: *base, api: {{}}}}"));
    // An error stands where the value was written.
    check(
        "x: &id 300\nspec: {network: {controlPlaneLoadBalancing: {keepalived: {vrrpInstances: [{virtualIPs: \
         [10.0.0.1/24], authPass: a, virtualRouterID: *id}]}}}}",
        &["k0s.yaml:1:8: error: virtualRouterID 300 is out of range: 1 to 255"],
    );
}

#[test]
fn sections_without_spec() {
    let loaded = load("k0s.yaml", &format!("{}\n", SPEC.trim_matches(['{', '}'])));
    assert_eq!(loaded.findings.len(), 1, "{:?}", loaded.findings);
    check(
        "network: {}\napi: {port: 70000}",
        &[
            "k0s.yaml:1:1: warning: network stands at the top of the document; it is read as spec.network",
            "k0s.yaml:2:1: warning: api stands at the top of the document; it is read as spec.api",
            "k0s.yaml:2:13: error: port 70000 is out of range: 1 to 65535",
        ],
    );
    check(
        "spec: {network: {}}\nnetwork: {}",
        &[
            "k0s.yaml:2:1: error: network stands at the top of the document, and once more under spec",
        ],
    );
}

#[test]
fn k0sctl_without_a_configuration_has_the_defaults() {
    let settings = accept(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {k0s: {version: v1.36.0}}",
    );
    assert_eq!(settings, config::Settings::default());
}

#[test]
fn fields_of_k0s_pass_unread() {
    accept(
        "spec:\n  extensions: {helm: [1, {a: .nan}, 1e999, 099]}\n  network: {provider: calico, calico: {mode: 7}}\n  \
         storage: {etcd: !x {peerAddress: []}}\n  api: {extraArgs: 5, ca: []}\n  1: 2\n",
    );
}

#[test]
fn stray_and_misspelt_blocks() {
    check(
        "spec:\n  network:\n    controlPlaneLoadbalancing: {}\n    nodelocalLoadBalancer: {}\n",
        &[
            "k0s.yaml:3:5: warning: controlPlaneLoadbalancing in network is not read",
            "k0s.yaml:4:5: warning: nodelocalLoadBalancer in network is not read",
        ],
    );
    check(
        "spec:\n  controlPlaneLoadBalancing: {}\nnodeLocalLoadBalancing: {}\n",
        &[
            "k0s.yaml:2:3: warning: controlPlaneLoadBalancing stands in spec, where it is not read",
            "k0s.yaml:3:1: warning: nodeLocalLoadBalancing stands in the document, where it is not read",
        ],
    );
    check(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nnodeLocalLoadBalancing: {}\nspec:\n  \
         nodeLocalLoadBalancing: {}\n  k0s:\n    nodeLocalLoadBalancing: {}\n    config:\n      \
         nodeLocalLoadBalancing: {}\n",
        &[
            "k0s.yaml:3:1: warning: nodeLocalLoadBalancing stands in the document, where it is not read",
            "k0s.yaml:5:3: warning: nodeLocalLoadBalancing stands in spec, where it is not read",
            "k0s.yaml:7:5: warning: nodeLocalLoadBalancing stands in k0s, where it is not read",
            "k0s.yaml:9:7: warning: nodeLocalLoadBalancing stands in config, where it is not read",
        ],
    );
}

#[test]
fn no_configuration() {
    let none = "k0s.yaml:1:1: error: no k0s configuration in this file";
    for text in [
        "",
        "# only a comment\n",
        "---\n---\n",
        "hello",
        "- spec: {}",
        "a: b",
        "apiVersion: v1\nkind: Pod\nspec: {network: {}}",
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nspec: {}",
        "apiVersion: k0s.k0sproject.io/v1\nkind: ClusterConfig\nspec: {}",
    ] {
        check(text, &[none]);
    }
    let hint = load("k0s.yaml", "").findings.remove(0).hint.expect("every finding has one");
    assert!(hint.contains("apiVersion: k0s.k0sproject.io/v1beta1"), "{hint}");
    assert!(hint.contains("apiVersion: k0sctl.k0sproject.io/v1beta1"), "{hint}");
}

#[test]
fn more_than_one_configuration() {
    check(
        "spec: {}\n---\nspec: {}\n",
        &["k0s.yaml:3:1: error: a second k0s configuration, the first is in line 1"],
    );
    check(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {k0s: {config: {spec: {}}}}\n---\n\
         apiVersion: k0s.k0sproject.io/v1beta1\nkind: ClusterConfig\nspec: {}\n",
        &["k0s.yaml:5:1: error: a second k0s configuration, the first is in line 3"],
    );
    check(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\n---\n\
         apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\n",
        &["k0s.yaml:4:1: error: a second k0sctl Cluster, the first is in line 1"],
    );
}

#[test]
fn sections_of_the_wrong_kind() {
    check(
        "kind: ClusterConfig\nspec: []",
        &["k0s.yaml:2:7: error: spec must be a mapping, not a list"],
    );
    check(
        "spec:\n  network: kuberouter",
        &["k0s.yaml:2:12: error: network must be a mapping, not a string"],
    );
    check(
        "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec: {k0s: {config: \"spec: {}\"}}",
        &["k0s.yaml:3:22: error: config must be a mapping, not a string"],
    );
}

#[test]
fn no_yaml() {
    check(
        "spec:\n\tnetwork: {}\n",
        &["k0s.yaml:2:2: error: tabs disallowed within this context (block indentation)"],
    );
    check("spec: \"a\n", &["k0s.yaml:1:7: error: unclosed quote"]);
    check(
        "spec: {}\nspec: {}\n",
        &["k0s.yaml:2:1: error: duplicate mapping key `spec` is not allowed here"],
    );
    check("spec: *a\n", &["k0s.yaml:1:7: error: reference to unknown value"]);
    check("spec: a: b\n", &["k0s.yaml:1:8: error: mapping values are not allowed in this context"]);
}

#[test]
fn deep_and_exploding_documents_end() {
    let deep = format!("spec: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(load("k0s.yaml", &deep).settings.is_none());
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(load("k0s.yaml", &bomb).settings.is_none());
}

#[test]
fn findings_name_the_whole_path() {
    let text = "spec: {k0s: {config: {network: {controlPlaneLoadBalancing: {keepalived: {vrrpInstances: [{virtualIPs: \
                [10.0.0.1/24], authPass: a, virtualRouterID: 300}]}}}}}}";
    let findings = load("k0sctl.yaml", text).findings;
    let paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.k0s.config.network",
            "spec.k0s.config.network.controlPlaneLoadBalancing.keepalived.vrrpInstances[0].virtualRouterID",
        ]
    );
    assert_eq!(findings[0].position, Position { line: 1, column: 23 });
    assert_eq!(
        findings[1].to_string(),
        "k0sctl.yaml:1:148: error: virtualRouterID 300 is out of range: 1 to 255\n  hint: choose a value within, or \
         leave the field out for its default"
    );
}
