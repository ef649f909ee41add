use clap::Parser;

use super::*;

fn settings(spec: &str) -> config::Settings {
    let loaded = config::load("cplb.yaml", &format!("spec: {{ {spec} }}"));
    loaded.settings.unwrap_or_else(|| panic!("{:?}", loaded.findings))
}

fn arguments(options: &[&str]) -> cli::Worker {
    let necessary =
        ["cplb", "worker", "--config", "cplb.yaml", "--kubeconfig", "/etc/kubelet.conf"];
    let words = necessary.iter().chain(options);
    match cli::Cli::parse_from(words).command {
        cli::Command::Worker(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

fn plan(spec: &str, options: &[&str]) -> Result<Plan, Error> {
    Plan::new(&settings(spec), &arguments(options), Path::new("/run/cplb/worker"))
}

fn nllb(fields: &str) -> String {
    format!("network: {{ nodeLocalLoadBalancing: {{ enabled: true, {fields} }} }}")
}

#[test]
fn builtin_by_default_listens_where_k0s_does() {
    let plan = plan(&nllb("type: Builtin"), &[]).unwrap();
    assert_eq!(plan.kind, Kind::Builtin);
    assert_eq!(plan.doors.apiserver, 7443);
    assert_eq!(plan.doors.konnectivity, Some(Konnectivity { port: 7132, server_port: 8132 }));
    assert_eq!(plan.backends.kubeconfig.as_deref(), Some(Path::new("/etc/kubelet.conf")));
    let cache = Path::new("/var/lib/cplb/worker/apiservers.json");
    assert_eq!(plan.backends.cache.as_deref(), Some(cache));
    assert_eq!(plan.backends.proxy_port, 7443, "a kubeconfig that leads here is a loop");
    assert!(!plan.backends.kubeconfig_may_appear);
}

#[test]
fn the_command_line_may_choose_another_balancer() {
    let spec = nllb("type: EnvoyProxy, builtin: { apiServerBindPort: 1234 }");
    let plan = plan(&spec, &["--balancer", "builtin", "--no-konnectivity"]).unwrap();
    assert_eq!(plan.kind, Kind::Builtin);
    assert_eq!((plan.doors.apiserver, plan.doors.konnectivity), (1234, None));
}

#[test]
fn a_pod_is_what_the_document_says() {
    let spec = nllb(
        "type: Traefik, traefik: { image: { image: example.org/traefik, version: v3.7 }, \
         imagePullPolicy: Always, apiServerBindPort: 1234 }",
    );
    let plan = plan(&spec, &["--manifest-dir", "/etc/kubernetes/manifests"]).unwrap();
    let Kind::Pod(pod) = &plan.kind else { panic!("{plan:?}") };
    assert_eq!(pod.engine, Engine::Traefik);
    assert_eq!(pod.image, Image { name: "example.org/traefik".into(), version: "v3.7".into() });
    assert_eq!(pod.pull_policy, PullPolicy::Always);
    assert_eq!(pod.doors, plan.doors);
    assert_eq!(pod.doors.apiserver, 1234);
    assert_eq!(pod.directory, Path::new("/run/cplb/worker/nllb"));
    assert_eq!(pod.manifest_directory.as_deref(), Some(Path::new("/etc/kubernetes/manifests")));
}

#[test]
fn a_virtual_ip_of_the_same_document_is_no_apiserver() {
    let spec = "network: {
      controlPlaneLoadBalancing: { enabled: true, type: Builtin, keepalived: { vrrpInstances: [
        { virtualIPs: [10.0.0.100/24], authPass: secret }] } },
      nodeLocalLoadBalancing: { enabled: true, type: Builtin } }";
    let plan = plan(spec, &[]).unwrap();
    assert_eq!(
        plan.backends.virtual_addresses,
        ["10.0.0.100".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[test]
fn the_bootstrap_kubeconfig_makes_the_other_one_optional() {
    let spec = nllb("type: Builtin");
    let plan = plan(&spec, &["--bootstrap-kubeconfig", "/etc/bootstrap.conf"]).unwrap();
    assert!(plan.backends.kubeconfig_may_appear);
    let bootstrap = plan.backends.bootstrap_kubeconfig.as_deref();
    assert_eq!(bootstrap, Some(Path::new("/etc/bootstrap.conf")));
}

#[test]
fn what_is_not_enabled_is_refused() {
    for spec in ["", "network: { nodeLocalLoadBalancing: { enabled: false } }"] {
        let error = plan(spec, &[]).unwrap_err().to_string();
        assert!(error.contains("nodeLocalLoadBalancing is not enabled"), "{error}");
    }
}
