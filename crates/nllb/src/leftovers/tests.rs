use super::*;

fn node(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_manifest_goes_by_its_label_and_what_a_crash_left_beside_it() {
    let ours = r#"{ "metadata": { "labels": { "app.kubernetes.io/managed-by": "cplb" } } }"#;
    let node = node(&[
        ("cplb-nllb.json", ours),
        (".cplb-nllb.json.new", "{ \"meta"),
        ("cplb-nllb-12.json", ours),
        ("cplb-nllb-x.json", ours),
        ("etcd.json", ours),
    ]);
    let path = |name: &str| node.path().join(name);
    let first = path("cplb-nllb.json");
    assert_eq!(
        remove_manifests(&first).unwrap(),
        [(first.clone(), Removal::Removed), (path("cplb-nllb-12.json"), Removal::Removed)]
    );
    let left = entries(node.path()).unwrap();
    assert_eq!(left, [path("cplb-nllb-x.json"), path("etcd.json")]);
    assert_eq!(remove_manifests(&first).unwrap(), []);
    assert_eq!(remove_manifests(&path("nowhere/cplb-nllb.json")).unwrap(), []);
}

#[test]
fn what_somebody_else_put_in_the_place_stays() {
    let labelled = r#"{ "metadata": { "labels": { "app.kubernetes.io/managed-by": "k0s" } } }"#;
    let node = node(&[
        ("cplb-nllb.json", labelled),
        ("cplb-nllb-2.json", "kind: Pod"),
        ("conf", "kind: Config\n"),
    ]);
    let path = |name: &str| node.path().join(name);
    let removals = remove_manifests(&path("cplb-nllb.json")).unwrap();
    assert_eq!(removals.iter().map(|it| it.1).collect::<Vec<_>>(), [Removal::Foreign; 2]);
    assert_eq!(remove_kubeconfig(&path("conf")).unwrap(), Removal::Foreign);
    assert_eq!(fs::read_dir(node.path()).unwrap().count(), 3);
}

#[test]
fn a_kubeconfig_goes_by_its_first_line() {
    let ours = "# Written by cplb worker from \"/etc/kubernetes/kubelet.conf\"\nkind: Config\n";
    let node = node(&[("ours", ours), ("theirs", &format!("kind: Config\n{ours}"))]);
    let path = |name: &str| node.path().join(name);
    assert_eq!(remove_kubeconfig(&path("ours")).unwrap(), Removal::Removed);
    assert_eq!(remove_kubeconfig(&path("theirs")).unwrap(), Removal::Foreign);
}

#[test]
fn the_files_of_both_balancers_go_with_their_directories() {
    let node = node(&[
        ("nllb/envoy/envoy.yaml", ""),
        ("nllb/envoy/.cds.yaml.new", ""),
        ("nllb/envoy/lds.yaml", ""),
        ("nllb/envoy.json", "{}"),
        ("nllb/traefik/config.yaml", ""),
        ("nllb/traefik/routing.yaml", ""),
        ("nllb/traefik-3/routing.yaml", ""),
        ("nllb/traefik-3.json", "{}"),
    ]);
    let directory = node.path().join("nllb");
    let wanted = [
        "envoy/lds.yaml",
        "envoy/envoy.yaml",
        "traefik/routing.yaml",
        "traefik/config.yaml",
        "traefik-3/routing.yaml",
    ];
    assert_eq!(remove_pod_files(&directory).unwrap(), wanted.map(|it| directory.join(it)));
    assert!(!directory.exists());
    assert_eq!(remove_pod_files(&directory).unwrap(), [] as [PathBuf; 0]);
}

#[test]
fn directories_with_something_else_in_them_stay() {
    let node = node(&[("nllb/envoy/notes", "mine")]);
    assert_eq!(remove_pod_files(&node.path().join("nllb")).unwrap(), [] as [PathBuf; 0]);
    assert!(node.path().join("nllb/envoy/notes").exists());
}
