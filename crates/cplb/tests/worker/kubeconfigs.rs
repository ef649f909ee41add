//! The kubeconfig that a worker writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lab::pki;

use crate::cluster::{Cluster, Families};

#[test]
fn kubectl_goes_through_the_balancer_by_it() {
    let mut cluster = Cluster::build(Families::Ipv4);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0, 1, 2]);
    let worker = &cluster.workers[0];
    let mode = fs::metadata(worker.path("run/kubeconfig.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let pki = worker.path("pki");
    let expected = format!(
        "# Written by cplb worker from \"{kubelet}\", and again when that changes
apiVersion: v1
clusters:
- cluster:
    certificate-authority: {pki}/ca.crt
    server: https://127.0.0.1:7443
    tls-server-name: kubernetes.default.svc
  name: lab
contexts:
- context:
    cluster: lab
    user: admin
  name: lab
current-context: lab
kind: Config
users:
- name: admin
  user:
    client-certificate: {pki}/admin.crt
    client-key: {pki}/admin.key
",
        kubelet = worker.path("kubelet.conf").display(),
        pki = pki.display(),
    );
    assert_eq!(worker.read("run/kubeconfig.yaml"), expected);
    let listed = cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).unwrap();
    assert!(listed.contains("10.0.0.11:6443,10.0.0.12:6443,10.0.0.13:6443"), "{listed}");

    // One after the other is gone, the one that the node joined by among them.
    for node in [0, 1] {
        cluster.stop_apiserver(node);
        cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).unwrap();
    }
}

#[test]
fn on_a_host_without_ipv4_it_leads_to_the_other_loopback() {
    let mut cluster = Cluster::build(Families::Ipv6);
    cluster.start_apiserver(0);
    let removed = cluster.on(0, &["ip", "address", "delete", "127.0.0.1/8", "dev", "lo"]);
    assert!(removed.status.success(), "{removed:?}");
    cluster.start_worker(0);
    cluster.eventually("the kubeconfig is written", |cluster| {
        cluster.workers[0].path("run/kubeconfig.yaml").exists()
    });
    let text = cluster.workers[0].read("run/kubeconfig.yaml");
    assert!(text.contains("    server: https://[::1]:7443\n"), "{text}");
    cluster.eventually("kubectl is answered", |cluster| {
        cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).is_ok()
    });
}

#[test]
fn it_follows_the_one_it_is_made_from() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    cluster.await_learned(0, &[0]);
    let worker = &cluster.workers[0];
    let before = worker.read("run/kubeconfig.yaml");
    fs::write(worker.path("kubelet.conf"), "nonsense").unwrap();
    cluster.eventually("the fault is told", |cluster| {
        cluster.workers[0].log().contains("no kubeconfig is made from it")
    });
    let worker = &cluster.workers[0];
    assert_eq!(worker.read("run/kubeconfig.yaml"), before, "what was written before stays");

    let [ca, certificate, key] =
        ["ca.crt", "admin.crt", "admin.key"].map(|it| worker.path("pki").join(it));
    let text = pki::kubeconfig("https://10.0.0.12:6443", &ca, &certificate, &key);
    fs::write(
        worker.path("kubelet.conf"),
        text.replace("name: admin", "name: kubelet").replace("user: admin", "user: kubelet"),
    )
    .unwrap();
    cluster.eventually("the kubeconfig has the new user", |cluster| {
        cluster.workers[0].read("run/kubeconfig.yaml").contains("  name: kubelet\n")
            || cluster.workers[0].read("run/kubeconfig.yaml").contains("- name: kubelet\n")
    });
}

#[test]
fn before_the_node_is_registered_that_of_the_bootstrap_token_is_used() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    let worker = &mut cluster.workers[0];
    fs::rename(worker.path("kubelet.conf"), worker.path("bootstrap.conf")).unwrap();
    let bootstrap = worker.path("bootstrap.conf").display().to_string();
    worker.configure(&["--bootstrap-kubeconfig", &bootstrap]);
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0]);
    let worker = &cluster.workers[0];
    let text = worker.read("run/bootstrap-kubeconfig.yaml");
    assert!(text.contains("    server: https://127.0.0.1:7443\n"), "{text}");
    assert!(!worker.path("run/kubeconfig.yaml").exists());

    // The kubelet copies the server of its bootstrap kubeconfig, which is the balancer.
    let registered = text.replace("admin.crt", "../pki/admin.crt");
    fs::write(worker.path("kubelet.conf"), registered).unwrap();
    cluster.eventually("the other kubeconfig is written", |cluster| {
        cluster.workers[0].path("run/kubeconfig.yaml").exists()
    });
    cluster.start_apiserver(1);
    cluster.await_learned(0, &[0, 1]);
    cluster.await_served_by(0, &[0, 1]);
}
