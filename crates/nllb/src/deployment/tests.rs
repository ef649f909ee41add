use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::doors::both;

struct Node {
    folder: tempfile::TempDir,
    manifests: Manifests,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        Self { folder, manifests: Manifests::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn deploy(&self, engine: Engine) -> Deployment {
        self.deploy_at(engine, both())
    }

    fn deploy_at(&self, engine: Engine, doors: Doors) -> Deployment {
        Deployment::new(Settings {
            engine,
            image: Image { name: "example.org/envoy".into(), version: "v1.39.0".into() },
            pull_policy: PullPolicy::Always,
            doors,
            directory: self.path("nllb"),
            manifest_directory: Some(self.path("manifests")),
        })
        .unwrap()
    }
}

fn servers(addresses: &[&str]) -> BTreeSet<SocketAddr> {
    addresses.iter().map(|it| it.parse().unwrap()).collect()
}

#[test]
fn directories_and_files_have_the_modes_that_k0s_gives_them() {
    let node = Node::new();
    for (engine, folder, files) in [
        (Engine::Envoy, "nllb/envoy", &["envoy.yaml", "cds.yaml", "lds.yaml"][..]),
        (Engine::Traefik, "nllb/traefik", &["config.yaml", "routing.yaml"]),
    ] {
        node.deploy(engine).update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
        let mode =
            |name: &str| fs::metadata(node.path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("nllb"), mode(folder)), (0o700, 0o755));
        for file in files {
            assert_eq!(mode(&format!("{folder}/{file}")), 0o444);
        }
    }
}

#[test]
fn the_manifest_names_the_directory_of_the_files() {
    let node = Node::new();
    let mut deployment = node.deploy(Engine::Envoy);
    let manifest = manifest_file(&node.path("manifests"));
    assert!(!manifest.exists(), "no pod before its files are there");
    deployment.update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
    let manifest: Value = serde_json::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
    assert_eq!(
        manifest["spec"]["volumes"][0]["hostPath"]["path"],
        node.path("nllb/envoy").display().to_string()
    );
}

#[test]
fn a_changed_list_replaces_only_the_file_that_names_it() {
    let node = Node::new();
    let mut deployment = node.deploy(Engine::Envoy);
    deployment.update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
    let inode = |name: &str| fs::metadata(node.path(name)).unwrap().ino();
    let names = [
        "nllb/envoy/envoy.yaml",
        "nllb/envoy/lds.yaml",
        "manifests/cplb-nllb.json",
        "nllb/envoy/cds.yaml",
    ];
    let before = names.map(inode);

    deployment.update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
    assert_eq!(names.map(inode), before, "the same list changes nothing");
    deployment.update(&BTreeSet::new(), &node.manifests).unwrap();
    assert_eq!(names.map(inode), before, "an empty list is never taken");

    deployment.update(&servers(&["10.0.0.12:6443"]), &node.manifests).unwrap();
    let after = names.map(inode);
    assert_eq!(after[..3], before[..3]);
    assert_ne!(after[3], before[3]);
    let clusters = node.read("nllb/envoy/cds.yaml");
    assert!(clusters.contains("10.0.0.12") && !clusters.contains("10.0.0.11"), "{clusters}");
}

#[test]
fn other_ports_of_envoy_replace_only_the_file_of_the_listeners() {
    let node = Node::new();
    let apiservers = servers(&["10.0.0.11:6443"]);
    node.deploy(Engine::Envoy).update(&apiservers, &node.manifests).unwrap();
    let inode = |name: &str| fs::metadata(node.path(name)).unwrap().ino();
    let others = ["nllb/envoy/envoy.yaml", "nllb/envoy/cds.yaml", "manifests/cplb-nllb.json"];
    let (before, listeners) = (others.map(inode), inode("nllb/envoy/lds.yaml"));

    let elsewhere = Doors { apiserver: 17443, ..both() };
    let mut deployment = node.deploy_at(Engine::Envoy, elsewhere);
    deployment.update(&apiservers, &node.manifests).unwrap();
    assert_eq!(others.map(inode), before);
    assert_ne!(inode("nllb/envoy/lds.yaml"), listeners);
    let text = node.read("nllb/envoy/lds.yaml");
    assert!(text.contains("port_value: 17443") && !text.contains("port_value: 7443"), "{text}");

    // The same once more is a file of its own, which is what Envoy looks for.
    let listeners = inode("nllb/envoy/lds.yaml");
    deployment.offer_again().unwrap();
    assert_eq!(others.map(inode), before);
    assert_ne!(inode("nllb/envoy/lds.yaml"), listeners);
    assert_eq!(node.read("nllb/envoy/lds.yaml"), text);
}

#[test]
fn a_daemon_that_starts_again_wakes_nobody() {
    let node = Node::new();
    let apiservers = servers(&["10.0.0.11:6443"]);
    let names =
        ["nllb/traefik/config.yaml", "nllb/traefik/routing.yaml", "manifests/cplb-nllb.json"];
    let inode = |name: &str| fs::metadata(node.path(name)).unwrap().ino();
    node.deploy(Engine::Traefik).update(&apiservers, &node.manifests).unwrap();
    let before = names.map(inode);
    node.deploy(Engine::Traefik).update(&apiservers, &node.manifests).unwrap();
    assert_eq!(names.map(inode), before);
}

#[test]
fn everything_stays_until_it_is_removed() {
    let node = Node::new();
    let mut deployment = node.deploy(Engine::Traefik);
    deployment.update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
    drop(deployment);
    let names =
        ["nllb/traefik/config.yaml", "nllb/traefik/routing.yaml", "manifests/cplb-nllb.json"];
    assert!(names.iter().all(|name| node.path(name).exists()));
    node.deploy(Engine::Traefik).remove(&node.manifests).unwrap();
    assert!(!names.iter().any(|name| node.path(name).exists()));
}

#[test]
fn a_missing_manifest_directory_is_an_error_before_anything_is_made() {
    let node = Node::new();
    let mut settings = node.deploy(Engine::Envoy).settings().clone();
    settings.directory = node.path("elsewhere");
    settings.manifest_directory = Some(node.path("nowhere"));
    let error = Deployment::new(settings).unwrap_err().to_string();
    let expected = format!(
        "the manifest directory {} does not exist: it is what staticPodPath of the kubelet's \
         configuration names (kubeadm: /etc/kubernetes/manifests)",
        node.path("nowhere").display()
    );
    assert_eq!(error, expected);
    assert!(!node.path("elsewhere").exists());
}
