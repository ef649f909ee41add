//! Fields of the node-local block and of `spec.api`.

use config::{BindPorts, ImagePullPolicy, NodeLocalKind, NodeLocalLoadBalancing};

use crate::{accept, check_each};

/// A document with a node-local block of these fields, the first in line 4, column 7.
fn node_local(fields: &str) -> String {
    let fields = fields.replace('\n', "\n      ");
    format!("spec:\n  network:\n    nodeLocalLoadBalancing:\n      {fields}\n")
}

fn node_local_of(text: &str) -> NodeLocalLoadBalancing {
    accept(text).node_local_load_balancing.expect("the block is there")
}

#[test]
fn node_local_defaults() {
    let found = node_local_of(&node_local("enabled: true"));
    assert!(found.enabled);
    assert_eq!(found.kind, NodeLocalKind::EnvoyProxy);
    assert_eq!(found.bind_ports(), BindPorts { api_server: 7443, konnectivity_server: 7132 });
    let images = [found.envoy_proxy.image.to_string(), found.traefik.image.to_string()];
    assert_eq!(
        images,
        ["quay.io/k0sproject/envoy-distroless:v1.39.0", "quay.io/k0sproject/traefik:v3.7.8-k0s.0"]
    );
    assert_eq!(found.envoy_proxy.image_pull_policy, ImagePullPolicy::IfNotPresent);
    assert!(!node_local_of(&node_local("type: \"\"")).enabled);
}

#[test]
fn node_local_fields() {
    let found = node_local_of(&node_local(
        "type: Traefik\ntraefik: {image: {image: example/traefik, version: v1}, imagePullPolicy: Never, \
         apiServerBindPort: 7444, konnectivityServerBindPort: 7133}",
    ));
    assert_eq!(found.traefik.image.to_string(), "example/traefik:v1");
    assert_eq!(found.traefik.image_pull_policy, ImagePullPolicy::Never);
    assert_eq!(found.bind_ports(), BindPorts { api_server: 7444, konnectivity_server: 7133 });
    let found = node_local_of(&node_local("type: Builtin\nbuiltin: {apiServerBindPort: 7445}"));
    assert_eq!(found.bind_ports(), BindPorts { api_server: 7445, konnectivity_server: 7132 });
    check_each(
        node_local,
        &[
            (
                "enabled: true\ntype: \"\"",
                "5:13: error: type must not be empty where enabled is true",
            ),
            (
                "type: envoyProxy",
                "4:13: error: type \"envoyProxy\" is none of EnvoyProxy, Traefik, Builtin",
            ),
            (
                "type: Custom",
                "4:13: error: type \"Custom\" is none of EnvoyProxy, Traefik, Builtin",
            ),
            (
                "envoyproxy: {}",
                "4:7: error: unknown field \"envoyproxy\" in nodeLocalLoadBalancing",
            ),
            ("builtin: {image: {}}", "4:17: error: unknown field \"image\" in builtin"),
            ("envoyProxy: {bindPort: 1}", "4:20: error: unknown field \"bindPort\" in envoyProxy"),
            ("envoyProxy: {image: {tag: v1}}", "4:28: error: unknown field \"tag\" in image"),
            (
                "envoyProxy: {apiServerBindPort: 65536}",
                "4:39: error: apiServerBindPort 65536 is out of range: 1 to 65535",
            ),
            (
                "traefik: {konnectivityServerBindPort: 0}",
                "4:45: error: konnectivityServerBindPort 0 is out of range: 1 to 65535",
            ),
            (
                "traefik: {imagePullPolicy: always}",
                "4:34: error: imagePullPolicy \"always\" is none of Always, Never, IfNotPresent",
            ),
            (
                "traefik: {image: {image: \" a\"}}",
                "4:32: error: image \" a\" begins or ends with a blank",
            ),
            (
                "traefik: {image: {version: -1.0}}",
                "4:34: error: version must be a string, not a decimal fraction",
            ),
            ("traefik: {image: {version: -v}}", "4:34: error: version \"-v\" is no image tag"),
            (
                "traefik: {image: {version: v1@md5}}",
                "4:34: error: version \"v1@md5\" is no image tag",
            ),
        ],
    );
}

/// As k0s rewrites them: a registry is replaced, a bare name prefixed.
#[test]
fn images_come_from_the_repository_of_the_cluster() {
    let images = "spec:\n  images: {repository: registry.local/k0s, default_pull_policy: Always}\n  network: \
                  {nodeLocalLoadBalancing: {traefik: {image: {image: library/traefik}}}}";
    let found = node_local_of(images);
    assert_eq!(found.envoy_proxy.image.image, "registry.local/k0s/k0sproject/envoy-distroless");
    assert_eq!(found.traefik.image.image, "registry.local/k0s/library/traefik");
    assert_eq!(found.traefik.image_pull_policy, ImagePullPolicy::Always);
}

#[test]
fn image_versions_with_a_digest() {
    let digest = format!("v1.2.3@sha256:{}", "0a".repeat(32));
    let found =
        node_local_of(&node_local(&format!("traefik: {{image: {{version: \"{digest}\"}}}}")));
    assert_eq!(found.traefik.image.version, digest);
}

#[test]
fn api_fields() {
    let api = accept(
        "spec: {api: {port: 6445, k0sApiPort: 9444, address: 10.0.0.1, externalAddress: kube.example, \
         sans: [a.example, 10.0.0.9], onlyBindToAddress: true, extraArgs: {a: b}}}",
    )
    .api;
    assert_eq!((api.port, api.k0s_api_port), (6445, 9444));
    assert_eq!(api.address, Some([10, 0, 0, 1].into()));
    assert_eq!(api.external_address.as_deref(), Some("kube.example"));
    assert_eq!(api.sans, ["a.example", "10.0.0.9"]);
    assert!(api.only_bind_to_address);
    fn document(field: &str) -> String {
        format!("spec:\n  api:\n    {field}")
    }
    check_each(
        document,
        &[
            ("port: 65536", "3:11: error: port 65536 is out of range: 1 to 65535"),
            ("port: \"6443\"", "3:11: error: port must be a whole number, not a string"),
            ("address: node1", "3:14: error: address \"node1\" is no IP address"),
            (
                "externalAddress: https://kube.example",
                "3:22: error: externalAddress \"https://kube.example\" is neither an IP address nor a DNS name",
            ),
            (
                "externalAddress: 10.0.0.300",
                "3:22: error: externalAddress \"10.0.0.300\" is neither an IP address nor a DNS name",
            ),
            ("sans: kube.example", "3:11: error: sans must be a list, not a string"),
            (
                "onlyBindToAddress: 1",
                "3:24: error: onlyBindToAddress must be true or false, not a number",
            ),
        ],
    );
}
