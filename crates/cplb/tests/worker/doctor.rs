//! What `cplb doctor` says of workers.

use serde_json::Value;

use crate::cluster::{CPLB, Cluster, Families, text};

/// A document whose virtual IPs cannot be on a worker: it has no such interface.
const DOCUMENT: &str = "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        vrrpInstances:
        - virtualIPs: [\"10.0.0.100/24\"]
          interface: bond7
          authPass: doctor
    nodeLocalLoadBalancing:
      enabled: true
      type: Builtin
";

/// What a doctor on a worker sees, by the document and this run directory: severity and check, and
/// what of it.
pub(crate) fn seen(cluster: &Cluster, worker: usize, run_dir: &str) -> Vec<[String; 3]> {
    let config = cluster.world.directory().join("config.yaml").display().to_string();
    let command = [CPLB, "doctor", "-o", "json", "--config", &config, "--run-dir", run_dir];
    let output = cluster.on(worker, &command);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let findings = report["findings"].as_array().unwrap().iter();
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings.map(|it| ["severity", "check", "seen"].map(|key| word(it, key))).collect()
}

/// What was seen by a check.
pub(crate) fn of_check<'a>(seen: &'a [[String; 3]], check: &str) -> Vec<[&'a str; 2]> {
    let of_check = seen.iter().filter(|[_, it, _]| it == check);
    of_check.map(|[severity, _, seen]| [severity.as_str(), seen.as_str()]).collect()
}

#[test]
fn on_a_worker_it_looks_for_no_virtual_ip() {
    let mut cluster = Cluster::of_document(Families::Ipv4, DOCUMENT);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0, 1, 2]);
    let run_dir = cluster.workers[0].path("run").display().to_string();
    let all = seen(&cluster, 0, &run_dir);
    let elsewhere = "this node is a worker: virtual IPs are looked at on controllers";
    assert_eq!(of_check(&all, "document"), [["skipped", elsewhere]]);
    let [["ok", well]] = of_check(&all, "worker")[..] else { panic!("{all:#?}") };
    assert!(well.ends_with("apiservers answer at 127.0.0.1:7443, [::1]:7443"), "{well}");
    let errors: Vec<_> = all.iter().filter(|[severity, ..]| severity == "error").collect();
    assert!(errors.is_empty(), "{errors:#?}");

    for node in 0..3 {
        cluster.stop_apiserver(node);
    }
    let told = "no apiserver answers at 127.0.0.1:7443, [::1]:7443: ";
    cluster.eventually("the doctor finds the node cut off", |cluster| {
        let all = seen(cluster, 0, &run_dir);
        of_check(&all, "worker")
            .iter()
            .any(|[severity, it]| *severity == "error" && it.starts_with(told))
    });
}
