//! What a kubelet does with static pods, as far as it matters here: it starts what stands in its
//! directory, starts again what has ended, and tells what stands there no more to end, with the time
//! that its manifest grants. A pod waits until the one of its name has ended.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kernel::netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::container::container;

/// Works until it is dropped, and its pods with it.
pub(crate) struct Kubelet {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The program in the image, by where the container sees its files.
pub(crate) type Images = BTreeMap<&'static str, PathBuf>;

/// What it works with.
struct Node {
    namespace: Arc<Namespace>,
    images: Images,
    manifests: PathBuf,
    /// Each pod has a log here.
    logs: PathBuf,
}

struct Pod {
    manifest: Value,
    child: Child,
    /// It was told to end, and is killed then.
    deadline: Option<Instant>,
}

/// A real one is told of changes, and its containers take about so long to start.
const SYNC_EACH: Duration = Duration::from_millis(200);
/// That of Kubernetes, where a manifest says nothing.
const GRACE_SECONDS: u64 = 30;

impl Kubelet {
    /// On the first worker.
    pub(crate) fn start(cluster: &Cluster, images: Images) -> Self {
        let worker = &cluster.workers[0];
        let node = Node {
            namespace: Arc::clone(&cluster.host(0).namespace),
            images,
            manifests: worker.path("manifests"),
            logs: worker.directory.clone(),
        };
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut pods = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                node.sync(&mut pods);
                thread::sleep(SYNC_EACH);
            }
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Node {
    fn sync(&self, pods: &mut BTreeMap<String, Pod>) {
        let wanted = self.wanted();
        pods.retain(|_, pod| !pod.has_ended());
        for (name, pod) in pods.iter_mut() {
            if wanted.get(name) != Some(&pod.manifest) {
                pod.end();
            }
        }
        for (name, manifest) in wanted {
            pods.entry(name).or_insert_with_key(|name| self.run(name, manifest));
        }
    }

    fn wanted(&self) -> BTreeMap<String, Value> {
        let files = fs::read_dir(&self.manifests).unwrap().map(|it| it.unwrap().path());
        let visible = files.filter(|it| it.extension().is_some_and(|it| it == "json"));
        // One may go between the two looks.
        let texts = visible.filter_map(|it| fs::read_to_string(it).ok());
        let manifests = texts.map(|it| serde_json::from_str::<Value>(&it).unwrap());
        manifests.map(|it| (it["metadata"]["name"].as_str().unwrap().to_owned(), it)).collect()
    }

    fn run(&self, name: &str, manifest: Value) -> Pod {
        let mount = &manifest["spec"]["containers"][0]["volumeMounts"][0]["mountPath"];
        let words = container(&manifest, &self.images[mount.as_str().unwrap()]);
        let log = log(&self.logs, name);
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).process_group(0);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Pod { child: self.namespace.spawn(command).unwrap(), manifest, deadline: None }
    }
}

impl Pod {
    fn has_ended(&mut self) -> bool {
        if self.deadline.is_some_and(|it| it < Instant::now()) {
            self.child.kill().unwrap();
        }
        self.child.try_wait().unwrap().is_some()
    }

    /// Once told it is not told again.
    fn end(&mut self) {
        if self.deadline.is_none() {
            let grace = self.manifest["spec"]["terminationGracePeriodSeconds"].as_u64();
            let grace = Duration::from_secs(grace.unwrap_or(GRACE_SECONDS));
            self.deadline = Some(Instant::now() + grace);
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a pod has printed goes here.
fn log(directory: &Path, pod: &str) -> PathBuf {
    directory.join(format!("pod-{pod}.log"))
}
