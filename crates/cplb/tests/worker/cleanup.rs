//! What `cplb cleanup --worker` removes, and what it leaves.

use std::fs;

use crate::cluster::{BUILTIN, CPLB, Cluster, Families, text};

/// `cplb cleanup --worker` on the first worker: exit code, standard output, standard error.
fn cleanup(cluster: &Cluster) -> (Option<i32>, String, String) {
    let worker = &cluster.workers[0];
    let [run_dir, state_dir] = ["run", "state"].map(|it| worker.path(it).display().to_string());
    let command = [CPLB, "cleanup", "--worker", "--run-dir", &run_dir, "--state-dir", &state_dir];
    let output = cluster.on(0, &command);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn pod_and_kubeconfigs_of_a_killed_worker_go_and_foreign_ones_stay() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    let worker = &mut cluster.workers[0];
    worker.write_config(&BUILTIN.replace("Builtin", "EnvoyProxy"));
    let manifests = worker.path("manifests").display().to_string();
    let kubeconfig = worker.path("elsewhere.conf").display().to_string();
    let bootstrap = worker.path("bootstrap.conf");
    fs::copy(worker.path("kubelet.conf"), &bootstrap).unwrap();
    let bootstrap = bootstrap.display().to_string();
    worker.configure(&[
        "--manifest-dir",
        &manifests,
        "--write-kubeconfig",
        &kubeconfig,
        "--bootstrap-kubeconfig",
        &bootstrap,
    ]);
    cluster.start_worker(0);
    let files = [
        "manifests/cplb-nllb.json",
        "run/nllb/envoy/cds.yaml",
        "run/nllb/envoy/lds.yaml",
        "run/nllb/envoy/envoy.yaml",
        "run/bootstrap-kubeconfig.yaml",
        "elsewhere.conf",
    ];
    let there = |cluster: &Cluster| files.map(|it| cluster.workers[0].path(it).exists());
    cluster.eventually("all is written", |cluster| there(cluster) == [true; 6]);

    let (code, _, refusal) = cleanup(&cluster);
    assert_eq!(code, Some(69), "EX_UNAVAILABLE while the worker runs: {refusal}");
    assert_eq!(there(&cluster), [true; 6]);

    // By another name of the kubeconfig the next run does not make the first one nobody's.
    cluster.workers[0].daemon.kill().unwrap();
    assert!(cluster.workers[0].daemon.wait(crate::cluster::LONG));
    cluster.workers[0].configure(&[]);
    cluster.workers[0].write_config(BUILTIN);
    cluster.start_worker(0);
    cluster.eventually("the other kubeconfig is written", |cluster| {
        cluster.workers[0].path("run/kubeconfig.yaml").exists()
    });
    cluster.workers[0].daemon.kill().unwrap();
    assert!(cluster.workers[0].daemon.wait(crate::cluster::LONG));
    let worker = &cluster.workers[0];
    let edited = "kind: Config\n";
    fs::write(worker.path("run/bootstrap-kubeconfig.yaml"), edited).unwrap();
    fs::write(worker.path("manifests/etcd.yaml"), "kind: Pod\n").unwrap();

    let (code, told, errors) = cleanup(&cluster);
    assert_eq!((code, &*errors), (Some(0), ""));
    let directory = worker.directory.display();
    let expected = format!(
        "removed the manifest {directory}/manifests/cplb-nllb.json
removed the file {directory}/run/nllb/envoy/cds.yaml
removed the file {directory}/run/nllb/envoy/lds.yaml
removed the file {directory}/run/nllb/envoy/envoy.yaml
removed the kubeconfig {directory}/elsewhere.conf
left the kubeconfig {directory}/run/bootstrap-kubeconfig.yaml: it does not carry the mark of cplb any more
removed the kubeconfig {directory}/run/kubeconfig.yaml
"
    );
    assert_eq!(told, expected);
    assert_eq!(there(&cluster), [false, false, false, false, true, false]);
    assert!(!worker.path("run/nllb").exists() && !worker.path("run/kubeconfig.yaml").exists());
    assert!(worker.path("manifests/etcd.yaml").exists() && worker.path("kubelet.conf").exists());
    assert_eq!(worker.read("run/bootstrap-kubeconfig.yaml"), edited);

    assert_eq!(cleanup(&cluster), (Some(0), "no file of a worker is left\n".into(), String::new()));
}
