//! What a worker refuses, and how it says so.

use std::os::unix::process::ExitStatusExt;

use crate::cluster::{BUILTIN, CPLB, Cluster, Families, text};

/// `cplb worker` with this document and these options, which must end by itself: its exit code, and
/// what it said. `DIR` is the worker's directory.
fn refused(document: &str, options: &[&str]) -> (Option<i32>, String) {
    refused_on(&Cluster::build(Families::Ipv4), document, options)
}

fn refused_on(cluster: &Cluster, document: &str, options: &[&str]) -> (Option<i32>, String) {
    let worker = &cluster.workers[0];
    worker.write_config(document);
    let mut words = vec!["timeout", "10", CPLB, "worker", "--config", "DIR/config.yaml"];
    words.extend(["--run-dir", "DIR/run", "--state-dir", "DIR/state"]);
    if !options.contains(&"--kubeconfig") {
        words.extend(["--kubeconfig", "DIR/kubelet.conf"]);
    }
    words.extend(options);
    let directory = worker.directory.display().to_string();
    let words: Vec<String> = words.iter().map(|it| it.replace("DIR", &directory)).collect();
    let output = cluster.on(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.signal(), None);
    let said = text(&output.stderr).replace(&directory, "DIR");
    println!("{said}");
    (output.status.code(), said)
}

#[test]
fn an_external_address_and_node_local_balancing_exclude_each_other() {
    let document = "spec:
  api: { externalAddress: 10.0.0.100 }
  network: { nodeLocalLoadBalancing: { enabled: true, type: Builtin } }
";
    let (code, said) = refused(document, &[]);
    assert_eq!(code, Some(78));
    assert!(
        said.starts_with(
            "DIR/config.yaml:3:49: error: nodeLocalLoadBalancing beside externalAddress \"10.0.0.100\""
        ),
        "{said}"
    );
    assert!(said.contains("workers go either to the external address or to their own balancer"));
}

#[test]
fn nothing_to_do_is_said() {
    let (code, said) = refused("spec: {}", &[]);
    assert_eq!(code, Some(78));
    assert_eq!(
        said,
        "cplb: DIR/config.yaml: nodeLocalLoadBalancing is not enabled, so there is nothing to do: set \
         enabled: true in spec.network.nodeLocalLoadBalancing\n"
    );
}

#[test]
fn a_static_pod_that_the_kubelet_cannot_find_is_refused() {
    let document = BUILTIN.replace("Builtin", "EnvoyProxy");
    let (code, said) = refused(&document, &[]);
    assert_eq!(code, Some(78));
    assert!(
        said.contains("type EnvoyProxy is a static pod, and the kubelet has to find it"),
        "{said}"
    );
    for advice in ["--manifest-dir", "--manifest-listen", "--balancer builtin"] {
        assert!(said.contains(advice), "{said}");
    }

    let (code, said) = refused(&document, &["--manifest-dir", "/nowhere"]);
    assert_eq!(code, Some(78));
    assert!(said.contains("the manifest directory /nowhere does not exist"), "{said}");

    let (code, said) = refused(&document, &["--manifest-listen", "0.0.0.0:8080"]);
    assert_eq!(code, Some(78));
    assert!(said.contains("--manifest-listen 0.0.0.0:8080 is no loopback address"), "{said}");
}

#[test]
fn a_kubeconfig_that_does_not_exist_is_named_where_nothing_else_leads_to_an_apiserver() {
    let (code, said) = refused(BUILTIN, &["--kubeconfig", "DIR/other.conf"]);
    assert_eq!(code, Some(78));
    assert!(said.starts_with("cplb: the kubeconfig DIR/other.conf does not exist; "), "{said}");
}

#[test]
fn writing_over_the_kubeconfig_is_refused() {
    let (code, said) = refused(BUILTIN, &["--write-kubeconfig", "DIR/kubelet.conf"]);
    assert_eq!(code, Some(78));
    assert_eq!(
        said,
        "cplb: DIR/kubelet.conf is to be read and to be written: name another file by \
         --write-kubeconfig\n"
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_written_is_named() {
    let (code, said) = refused(BUILTIN, &["--write-kubeconfig", "DIR/missing/kubeconfig.yaml"]);
    assert_eq!(code, Some(71));
    let expected = "cplb: cannot write DIR/missing/kubeconfig.yaml: No such file or directory";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let cluster = Cluster::build(Families::Ipv4);
    let namespace = &cluster.host(0).namespace;
    let _taken = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:7443").unwrap()).unwrap();
    let (code, said) = refused_on(&cluster, BUILTIN, &[]);
    assert_eq!(code, Some(69));
    assert!(said.contains("127.0.0.1:7443 is in use: find its owner with"), "{said}");
}

#[test]
fn a_second_worker_in_the_same_run_directory_is_refused() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0]);
    let (code, said) = refused_on(&cluster, BUILTIN, &[]);
    assert_eq!(code, Some(69));
    assert!(said.contains(" works in DIR/run: stop it, or give this one its own"), "{said}");
    cluster.await_served_by(0, &[0]);
}
