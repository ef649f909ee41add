//! Envoy and Traefik as static pods: what the kubelet and they find.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::{BUILTIN, Cluster, Families};

fn with(kind: &str) -> String {
    BUILTIN.replace("Builtin", kind)
}

/// A cluster whose worker 0 has this document, and the kubelet's directory of manifests.
fn cluster(document: &str) -> Cluster {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    let worker = &mut cluster.workers[0];
    worker.write_config(document);
    let manifests = worker.path("manifests").display().to_string();
    worker.configure(&["--manifest-dir", &manifests]);
    cluster.start_worker(0);
    cluster
}

#[test]
fn the_files_of_envoy_follow_the_list() {
    let mut cluster = cluster(&with("EnvoyProxy"));
    cluster.eventually("the manifest is there", |cluster| {
        cluster.workers[0].path("manifests/cplb-nllb.json").exists()
    });
    let manifest: Value =
        serde_json::from_str(&cluster.workers[0].read("manifests/cplb-nllb.json")).unwrap();
    assert_eq!(
        manifest["spec"]["containers"][0]["image"],
        "quay.io/k0sproject/envoy-distroless:v1.39.0"
    );
    assert_eq!(manifest["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    cluster.start_apiserver(1);
    cluster.eventually("the second apiserver is in the file", |cluster| {
        let text = cluster.workers[0].read("run/nllb/envoy/cds.yaml");
        text.contains("\"10.0.0.11\", port_value: 6443")
            && text.contains("\"10.0.0.12\", port_value: 6443")
            && text.contains("\"10.0.0.12\", port_value: 8132")
    });

    // The pod does without the daemon, which finds everything as it was.
    cluster.stop_worker(0);
    assert!(cluster.workers[0].path("manifests/cplb-nllb.json").exists());
    assert!(cluster.workers[0].path("run/nllb/envoy/cds.yaml").exists());
    let door = cluster.door();
    assert_eq!(cluster.certificate(0, door), None, "nobody else listens for it");
}

#[test]
fn every_field_of_the_document_is_used() {
    let document = with("Traefik")
        + "      traefik:
        image: { image: example.org/traefik, version: v3.5.0 }
        imagePullPolicy: Never
        apiServerBindPort: 17443
        konnectivityServerBindPort: 17132
";
    let cluster = cluster(&document);
    cluster.eventually("the manifest is there", |cluster| {
        cluster.workers[0].path("manifests/cplb-nllb.json").exists()
    });
    let worker = &cluster.workers[0];
    let manifest: Value = serde_json::from_str(&worker.read("manifests/cplb-nllb.json")).unwrap();
    let container = &manifest["spec"]["containers"][0];
    assert_eq!(container["image"], "example.org/traefik:v3.5.0");
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["livenessProbe"]["tcpSocket"]["port"], 17443);
    let install = worker.read("run/nllb/traefik/config.yaml");
    assert!(install.contains("address: \"127.0.0.1:17443\""), "{install}");
    assert!(install.contains("address: \"[::1]:17132\""), "{install}");
    let routing = worker.read("run/nllb/traefik/routing.yaml");
    assert!(routing.contains("- address: \"10.0.0.11:6443\""), "{routing}");
    assert!(!routing.contains("healthCheck"), "v3.5 would refuse the file: {routing}");
}

#[test]
fn the_kubelet_may_ask_for_the_manifest_over_http() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.workers[0].configure(&[
        "--balancer",
        "envoy-proxy",
        "--manifest-listen",
        "127.0.0.1:8092",
    ]);
    cluster.start_worker(0);
    let ask = ["curl", "--silent", "--fail", "http://127.0.0.1:8092/manifests"];
    cluster.eventually("the pod is in the list", |cluster| {
        let output = cluster.on(0, &ask);
        let Ok(list) = serde_json::from_slice::<Value>(&output.stdout) else { return false };
        list["kind"] == "PodList" && list["items"][0]["metadata"]["name"] == "nllb"
    });
}

#[test]
fn until_the_kubelet_has_started_the_pod_builtin_goes_on() {
    let mut cluster = cluster(BUILTIN);
    cluster.await_served_by(0, &[0]);
    let client = cluster.client(0, cluster.door());
    let begin = cluster.now();
    let reload = |cluster: &mut Cluster, kind: &str| {
        cluster.workers[0].write_config(&with(kind));
        cluster.workers[0].daemon.send(Signal::HUP).unwrap();
    };
    reload(&mut cluster, "EnvoyProxy");
    let manifest = cluster.workers[0].path("manifests/cplb-nllb.json");
    cluster.eventually("the manifest is there", |_| manifest.exists());
    std::thread::sleep(Duration::from_secs(1));
    // No kubelet takes it.
    reload(&mut cluster, "Builtin");
    cluster.eventually("the manifest is gone, and Envoy's files", |cluster| {
        let files = fs::read_dir(cluster.workers[0].path("run/nllb")).unwrap();
        !manifest.exists() && files.count() == 0
    });
    let end = cluster.now();
    cluster.eventually("all requests are finished", |_| client.has_finished(end));
    let figures = client.figures(&(begin..end));
    assert!(figures.answered > 0 && figures.failures.is_empty(), "{figures:?}");
    assert_eq!(client.watch_changes().len(), 1);
}
