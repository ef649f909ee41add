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
        (Engine::Traefik, "nllb/traefik-2", &["config.yaml", "routing.yaml"]),
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
fn everything_stays_until_it_leaves() {
    let node = Node::new();
    let mut deployment = node.deploy(Engine::Traefik);
    deployment.update(&servers(&["10.0.0.11:6443"]), &node.manifests).unwrap();
    drop(deployment);
    let files = ["nllb/traefik.json", "nllb/traefik/config.yaml", "nllb/traefik/routing.yaml"];
    let there = || files.map(|name| node.path(name).exists());
    assert_eq!(there(), [true; 3]);
    assert!(node.path("manifests/cplb-nllb.json").exists());

    // Without its manifest the kubelet tells it to end; its files are there until it has.
    let leaving = node.deploy(Engine::Traefik).leave(&node.manifests).unwrap().unwrap();
    assert!(!node.path("manifests/cplb-nllb.json").exists());
    assert_eq!(there(), [true; 3]);
    assert_eq!(leaving.connections().unwrap(), Some(0));
    leaving.remove(&node.manifests).unwrap();
    assert_eq!(there(), [false; 3]);
    assert!(!node.path("nllb/traefik").exists());
}

#[test]
fn envoy_is_told_to_close_its_listeners_and_stays_with_the_kubelet() {
    let node = Node::new();
    let apiservers = servers(&["10.0.0.11:6443"]);
    let mut deployment = node.deploy(Engine::Envoy);
    deployment.update(&apiservers, &node.manifests).unwrap();
    let manifest = node.read("manifests/cplb-nllb.json");
    let leaving = deployment.leave(&node.manifests).unwrap().unwrap();
    assert_eq!(node.read("nllb/envoy/lds.yaml"), "resources: []\n");
    assert_eq!(node.read("manifests/cplb-nllb.json"), manifest);

    // Another run knows of it.
    let again = Leaving::all(&node.path("nllb"), &node.manifests).unwrap();
    assert_eq!(again.iter().map(Leaving::name).collect::<Vec<_>>(), ["nllb"]);
    assert_eq!(Deployment::all(&node.path("nllb")).unwrap().len(), 0);
    assert!(!leaving.is_late());

    // Wanted again it listens again, and nobody ends it.
    let mut deployment = node.deploy(Engine::Envoy);
    assert_eq!(leaving.connections().unwrap(), None);
    deployment.update(&apiservers, &node.manifests).unwrap();
    assert!(node.read("nllb/envoy/lds.yaml").contains("port_value: 7443"));
    assert_eq!(node.read("manifests/cplb-nllb.json"), manifest);
    assert_eq!(Leaving::all(&node.path("nllb"), &node.manifests).unwrap().len(), 0);
}

#[test]
fn one_that_never_came_to_be_leaves_nothing() {
    let node = Node::new();
    assert!(node.deploy(Engine::Envoy).leave(&node.manifests).unwrap().is_none());
    assert_eq!(fs::read_dir(node.path("nllb")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(node.path("manifests")).unwrap().count(), 0);
}

/// What is other to the kubelet has another name, or it would end the one before it starts the next.
#[test]
fn another_pod_stands_beside_the_one_before() {
    let node = Node::new();
    let apiservers = servers(&["10.0.0.11:6443"]);
    let mut first = node.deploy(Engine::Traefik);
    first.update(&apiservers, &node.manifests).unwrap();
    let before = node.read("manifests/cplb-nllb.json");
    let elsewhere = Doors { apiserver: 17443, ..both() };
    let mut second = node.deploy_at(Engine::Traefik, elsewhere.clone());
    second.update(&apiservers, &node.manifests).unwrap();
    assert_eq!(node.read("manifests/cplb-nllb.json"), before);
    let manifest: Value = serde_json::from_str(&node.read("manifests/cplb-nllb-2.json")).unwrap();
    assert_eq!(manifest["metadata"]["name"], "nllb-2");
    let folder = manifest["spec"]["volumes"][0]["hostPath"]["path"].as_str().unwrap();
    assert_eq!(Path::new(folder), node.path("nllb/traefik-2"));
    assert!(node.read("nllb/traefik-2/config.yaml").contains("127.0.0.1:17443"));
    assert!(node.read("nllb/traefik/config.yaml").contains("127.0.0.1:7443"));

    // One that was told to end is not asked to go on.
    drop(first.leave(&node.manifests).unwrap());
    assert_eq!(node.deploy(Engine::Traefik).name(), "nllb-3");
    assert_eq!(node.deploy_at(Engine::Traefik, elsewhere).name(), "nllb-2");
    let serving = Deployment::all(&node.path("nllb")).unwrap();
    assert_eq!(serving.iter().map(Deployment::name).collect::<Vec<_>>(), ["nllb-2"]);
}

#[test]
fn after_a_restart_of_the_machine_the_manifest_is_found_again() {
    let node = Node::new();
    let apiservers = servers(&["10.0.0.11:6443"]);
    for port in [17443, 27443] {
        let doors = Doors { apiserver: port, ..both() };
        node.deploy_at(Engine::Traefik, doors).update(&apiservers, &node.manifests).unwrap();
    }
    fs::write(node.path("manifests/cplb-nllb-7.json"), "kind: Pod\n").unwrap();
    fs::remove_dir_all(node.path("nllb")).unwrap();

    let doors = Doors { apiserver: 27443, ..both() };
    let deployment = node.deploy_at(Engine::Traefik, doors);
    assert_eq!(deployment.name(), "nllb-2");
    let there = |number: &str| node.path(&format!("manifests/cplb-nllb{number}.json")).exists();
    let (files, manifests) = (node.path("nllb"), node.path("manifests"));
    crate::remove_orphans(&node.path("elsewhere"), &manifests, None).unwrap();
    assert_eq!(["", "-2", "-7"].map(there), [true, true, true], "of another daemon");
    crate::remove_orphans(&files, &manifests, Some(&deployment)).unwrap();
    assert_eq!(["", "-2", "-7"].map(there), [false, true, true]);
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
