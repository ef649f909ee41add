use serde_json::json;

use super::*;
use crate::doors::both;

fn image(name: &str, version: &str) -> Image {
    Image { name: name.to_owned(), version: version.to_owned() }
}

#[test]
fn the_pod_of_envoy() {
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "nllb",
            "namespace": "kube-system",
            "labels": {
                "app.kubernetes.io/name": "nllb",
                "app.kubernetes.io/component": "nllb",
                "app.kubernetes.io/managed-by": "cplb",
            },
        },
        "spec": {
            "hostNetwork": true,
            "priorityClassName": "system-node-critical",
            "priority": 2000001000,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65534 },
            "containers": [{
                "name": "nllb",
                "image": "quay.io/k0sproject/envoy-distroless:v1.39.0",
                "imagePullPolicy": "IfNotPresent",
                "args": [
                    "-c", "/etc/envoy/envoy.yaml", "--use-dynamic-base-id", "--drain-time-s", "86400",
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "privileged": false,
                    "readOnlyRootFilesystem": true,
                },
                "volumeMounts": [{ "name": "config", "mountPath": "/etc/envoy", "readOnly": true }],
            }],
            "volumes": [{
                "name": "config",
                "hostPath": { "path": "/run/cplb/worker/nllb/envoy", "type": "Directory" },
            }],
            "tolerations": [{ "operator": "Exists" }],
        },
    });
    let image = image("quay.io/k0sproject/envoy-distroless", "v1.39.0");
    let folder = Path::new("/run/cplb/worker/nllb/envoy");
    let pod = manifest("nllb", Engine::Envoy, &image, PullPolicy::IfNotPresent, &both(), folder);
    assert_eq!(pod, expected);
}

/// Another manifest is another pod, which ends the connections of the one before.
#[test]
fn the_pod_of_envoy_is_the_same_with_every_port() {
    let pod = |doors: &Doors| {
        let image = image("quay.io/k0sproject/envoy-distroless", "v1.39.0");
        manifest("nllb", Engine::Envoy, &image, PullPolicy::Always, doors, Path::new("/run/envoy"))
    };
    let elsewhere = Doors { apiserver: 17443, konnectivity: None, ..both() };
    assert_eq!(pod(&elsewhere), pod(&both()));
}

#[test]
fn the_pod_of_traefik_on_ipv6_alone_without_konnectivity() {
    let doors =
        Doors { loopbacks: vec!["::1".parse().unwrap()], apiserver: 9443, konnectivity: None };
    let image = image("quay.io/k0sproject/traefik", "v3.7.8-k0s.0");
    let folder = Path::new("/run/cplb/worker/nllb/traefik");
    let pod = manifest("nllb", Engine::Traefik, &image, PullPolicy::Never, &doors, folder);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "quay.io/k0sproject/traefik:v3.7.8-k0s.0");
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["args"], json!(["--configFile=/etc/traefik/config.yaml"]));
    assert_eq!(container.get("ports"), None, "the kubelet takes no two pods with one port");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 86400);
    let probe = json!({
        "tcpSocket": { "host": "::1", "port": 9443 },
        "periodSeconds": 10,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    });
    assert_eq!(container["livenessProbe"], probe);
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/traefik");
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
}
