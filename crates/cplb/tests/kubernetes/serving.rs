//! A cluster to which nothing happens.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab::world::Host;

use crate::cluster::API_PORT;
use crate::kubectl::{self, Watch};
use crate::story::Story;

const PROXY_PORT: u16 = 6444;
const CONNECTS: usize = 15;

/// Every apiserver gets the same number of connections, wherever the client is.
pub(crate) fn found_and_shared(story: &mut Story) {
    // Kubernetes serves v1 slices since 1.21; before, Endpoints are all there is.
    let has_slices =
        kubectl::try_run(&story.cluster, &["get", "--raw", "/apis/discovery.k8s.io/v1"]);
    let resource = if has_slices.status.success() { "slices" } else { "endpoints" };
    for status in story.cluster.statuses() {
        assert_eq!(status.unwrap().resource(), Some(resource));
    }
    story.note("every controller", format!("knows the apiservers from {resource}"));

    let world = &story.cluster.world;
    let holder = world.node(story.holder()).host();
    let virtual_ip = SocketAddr::new(story.cluster.virtual_ip(), API_PORT);
    let mut ways: Vec<(&Host, SocketAddr)> =
        vec![(world.client(), virtual_ip), (holder, virtual_ip)];
    for node in world.nodes() {
        let address = node.host().address();
        ways.push((world.client(), SocketAddr::new(address, PROXY_PORT)));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        ways.push((node.host(), SocketAddr::new(loopback, PROXY_PORT)));
    }
    let mut seen = Vec::new();
    for (host, address) in ways {
        let shown = subjects_shown(story, host, address);
        let counts: Vec<usize> = shown.values().copied().collect();
        assert_eq!(counts, [CONNECTS / 3; 3], "from {} to {address}: {shown:?}", host.name);
        seen.push((host.name.clone(), format!("{CONNECTS} connects to {address}: {shown:?}")));
    }
    for (who, event) in seen {
        story.note(&who, event);
    }
}

/// Requests and watches.
pub(crate) fn kubectl_works(story: &mut Story) {
    let namespaces = kubectl::run(&story.cluster, &["get", "namespaces", "--output=name"]);
    assert!(namespaces.lines().any(|line| line == "namespace/kube-system"), "{namespaces}");

    let path = "--output=jsonpath={.subsets[*].addresses[*].ip}";
    let listed = kubectl::run(&story.cluster, &["get", "endpoints", "kubernetes", path]);
    assert_eq!(listed, "10.99.0.11 10.99.0.12 10.99.0.13");
    story.note("kubectl", format!("sees the endpoints {listed}"));

    let mut watch = Watch::start(&story.cluster, "kubectl-watch");
    // It takes in what it can get first and then watches, so that nothing is missed in between.
    kubectl::run(&story.cluster, &["create", "configmap", "first"]);
    await_shown(story, &watch, "first");
    let began = story.now();
    kubectl::run(&story.cluster, &["create", "configmap", "second"]);
    let shown = await_shown(story, &watch, "second");
    story.note(
        "kubectl",
        format!("its watch shows a new object {:.3?} after the order to create it", shown - began),
    );
    assert!(watch.is_alive());
}

/// Waits until the watch shows the object.
pub(crate) fn await_shown(story: &mut Story, watch: &Watch, configmap: &str) -> Duration {
    let deadline = story.now() + Duration::from_secs(10);
    let what = format!("kubectl's watch shows {configmap}");
    story.await_that(&what, deadline, |_| watch.has_shown(configmap))
}

/// How often each certificate is shown.
fn subjects_shown(story: &Story, host: &Host, address: SocketAddr) -> BTreeMap<String, usize> {
    let mut shown = BTreeMap::new();
    for _ in 0..CONNECTS {
        let output = host
            .command("openssl")
            .args(["s_client", "-connect", &address.to_string(), "-verify_return_error"])
            .args(["-verify_hostname", "kubernetes", "-CAfile"])
            .arg(story.cluster.world.directory().join("ca.crt"))
            .output(Duration::from_secs(5))
            .expect("openssl ends in time");
        let text = String::from_utf8_lossy(&output.stdout);
        let subject = text.lines().find_map(|line| line.strip_prefix("subject="));
        let subject = subject.unwrap_or_else(|| {
            panic!("no certificate at {address}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        *shown.entry(subject.to_owned()).or_default() += 1;
    }
    shown
}
