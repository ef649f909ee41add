//! What a worker's static pod runs, started as the kubelet would: what the manifest says, as the user it
//! says, in a mount namespace of its own.

use std::path::{Path, PathBuf};

use lab::world::{Daemon, Launch};
use serde_json::Value;

use crate::cluster::{BUILTIN, Cluster, Families};

/// A program that does not come with the tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// In messages.
    pub(crate) name: &'static str,
    /// The environment variable that names it.
    pub(crate) variable: &'static str,
    /// In the document.
    pub(crate) kind: &'static str,
}

/// What the container runtime does, as far as it matters here.
const CONTAINER: &str = r#"mount -t tmpfs none /etc && mkdir "$2" && mount --bind "$1" "$2" && user=$3 && shift 3 &&
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs "$@""#;

impl Program {
    /// The file, if one is named.
    pub(crate) fn given(self) -> Option<PathBuf> {
        let given = std::env::var_os(self.variable).filter(|it| !it.is_empty());
        if given.is_none() {
            println!("skipped: set {}=FILE to run {} itself", self.variable, self.name);
        }
        given.map(PathBuf::from)
    }

    /// What its worker reads.
    pub(crate) fn document(self) -> String {
        BUILTIN.replace("Builtin", self.kind)
    }

    /// A cluster whose first worker balances by it. It does not run yet.
    pub(crate) fn cluster(self, families: Families) -> Cluster {
        let mut cluster = Cluster::build(families);
        let worker = &mut cluster.workers[0];
        worker.write_config(&self.document());
        let manifests = worker.path("manifests").display().to_string();
        worker.configure(&["--manifest-dir", &manifests]);
        cluster
    }

    /// The pod of the manifest, started.
    pub(crate) fn start(self, cluster: &Cluster, program: &Path) -> Daemon {
        let worker = &cluster.workers[0];
        let manifest = "manifests/cplb-nllb.json";
        cluster.eventually("the manifest is there", |_| worker.path(manifest).exists());
        let manifest: Value = serde_json::from_str(&worker.read(manifest)).unwrap();
        let words = container(&manifest, program);
        let launch = Launch::new(&words[0]).arguments(&words[1..]);
        let log = worker.path(&format!("{}.log", self.name));
        let mut pod = Daemon::new(self.name.into(), launch, cluster.host(0), log);
        pod.start().unwrap();
        pod
    }
}

/// The command by which runs what this manifest asks for, where the image holds this program.
pub(crate) fn container(manifest: &Value, program: &Path) -> Vec<String> {
    let spec = &manifest["spec"];
    let container = &spec["containers"][0];
    let word = |it: &Value| it.as_str().unwrap().to_owned();
    let mut words = ["unshare", "--mount", "sh", "-c", CONTAINER, "sh"].map(str::to_owned).to_vec();
    words.push(word(&spec["volumes"][0]["hostPath"]["path"]));
    words.push(word(&container["volumeMounts"][0]["mountPath"]));
    words.push(spec["securityContext"]["runAsUser"].to_string());
    words.push(program.display().to_string());
    words.extend(container["args"].as_array().unwrap().iter().map(word));
    words
}
