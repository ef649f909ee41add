//! Another process goes on in place of a controller: nothing moves and nobody notices, or nothing
//! has changed. In network namespaces; needs root. What is sent is what tcpdump on another host saw.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{CPLB, Cluster, LONG, VIP, text};
use lab::world::{Host, Launch, Plan, World};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both families, which move together, ten advertisements a second.
const DOCUMENT: &str = r#"spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - virtualIPs: ["10.0.0.100/24", "fd00:10::100/64"]
          authPass: BuyK0s
          version: 3
          advertInterval: 100ms
      loadBalancer:
        extraPorts: [{port: 9443, listenPort: 9444}]
"#;

const VIP_V6: &str = "fd00:10::100";

/// RFC 9568 section 6.1 at 100 ms and priority 200: 3 intervals and (256 - 200) / 256 of one, after
/// which an heir takes over.
const DOWN_INTERVAL: f64 = 0.321;

/// Kills what is left of a world's processes, successors too, which are no children of the test.
struct Strays(PathBuf);

impl Drop for Strays {
    fn drop(&mut self) {
        for pid in processes(&self.0, "") {
            // It may end by itself.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

/// The processes with this directory, which is the world's own, and this word in their arguments.
fn processes(directory: &Path, word: &str) -> Vec<i32> {
    let directory = directory.to_str().unwrap();
    let belongs = |pid: &i32| {
        // Gone meanwhile: empty.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = text(&line);
        line.contains(directory) && line.contains(word)
    };
    let numbers = fs::read_dir("/proc").unwrap();
    numbers.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).filter(belongs).collect()
}

fn strays(world: &World) -> Strays {
    Strays(world.directory().to_owned())
}

/// The controllers that run on a node.
fn controllers(cluster: &Cluster, node: usize) -> Vec<i32> {
    processes(cluster.world.node(node).run_dir.parent().unwrap(), "controller\0")
}

fn start(document: &str) -> (Cluster, Strays) {
    let addresses = [VIP, VIP_V6].map(|it| {
        let prefix = if it.contains(':') { 64 } else { 24 };
        format!("{it}/{prefix}").parse().unwrap()
    });
    let addresses = if document.contains(VIP_V6) { &addresses[..] } else { &addresses[..1] };
    let plan = Plan::new(Path::new(CPLB), document, addresses, 3).unwrap();
    let mut cluster = Cluster::build(plan);
    let strays = strays(&cluster.world);
    cluster.world.start_all().unwrap();
    cluster.settle();
    (cluster, strays)
}

/// `cplb upgrade` for a node.
fn upgrade(cluster: &Cluster, node: usize, options: &[&str]) -> Output {
    let run_dir = &cluster.world.node(node).run_dir;
    let output =
        Command::new(CPLB).args(["upgrade", "--run-dir"]).arg(run_dir).args(options).output();
    let output = output.unwrap();
    cluster.tell(&format!("upgrade: {}{}", text(&output.stdout), text(&output.stderr)));
    output
}

#[track_caller]
fn upgraded(cluster: &Cluster, node: usize) {
    let before = pid(cluster, node);
    let output = upgrade(cluster, node, &[]);
    assert!(output.status.success(), "{output:?}");
    cluster.eventually("the new process answers", |cluster| {
        cluster.status_of(node).is_some_and(|status| status["pid"] != before)
    });
}

fn pid(cluster: &Cluster, node: usize) -> i32 {
    cluster.status_of(node).unwrap()["pid"].as_i64().unwrap() as i32
}

fn transitions(status: &Value) -> Vec<Value> {
    let routers = status["virtual_routers"].as_array().unwrap();
    routers.iter().map(|router| router["transitions"].clone()).collect()
}

/// tcpdump on a host, of both families.
struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    fn start(host: &Host, file: PathBuf) -> Self {
        let command = host.command("tcpdump").args(["-q", "-i", "eth0", "-U", "-Z", "root", "-w"]);
        let filter = ["ip proto 112 or ip6 proto 112"];
        let tcpdump = command.arg(&file).args(filter).spawn().unwrap();
        let capture = Self { tcpdump, file };
        // The header of the file is written once it listens.
        let deadline = Instant::now() + LONG;
        while fs::metadata(&capture.file).map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < deadline, "tcpdump does not listen");
            std::thread::sleep(milliseconds(10));
        }
        capture
    }

    /// The longest time between two advertisements of IPv4, and of IPv6; priority 0 none.
    fn longest_gaps(mut self) -> [f64; 2] {
        self.end();
        let shown =
            Command::new("tcpdump").args(["-n", "-tt", "-r"]).arg(&self.file).output().unwrap();
        let shown = text(&shown.stdout);
        assert!(!shown.contains("prio 0,"), "{shown}");
        ["IP ", "IP6 "].map(|family| {
            let ours = |line: &&str| line.contains("VRRP") && line.contains(family);
            let time = |line: &str| line.split(' ').next()?.parse::<f64>().ok();
            let times: Vec<f64> = shown.lines().filter(ours).filter_map(time).collect();
            assert!(times.len() > 10, "{shown}");
            times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max)
        })
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// One connection that carries requests, one after the other.
struct Talker {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Talker {
    fn start(world: &World, address: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(world.authority().der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = SocketAddr::new(address.parse().unwrap(), 6443);
        let (answers, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let talk = move || {
            let tcp = TcpStream::connect_timeout(&address, LONG).unwrap();
            tcp.set_read_timeout(Some(LONG)).unwrap();
            let name = ServerName::try_from("kubernetes").unwrap();
            let mut stream =
                StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), tcp);
            while !stopped.load(Relaxed) && answered(&mut stream) {
                counted.fetch_add(1, Relaxed);
                std::thread::sleep(milliseconds(10));
            }
        };
        let client = &world.client().namespace;
        let thread = client.run(|| std::thread::spawn(talk)).unwrap();
        let talker = Self { answers, stop, thread: Some(thread) };
        talker.assert_talks();
        talker
    }

    /// Further requests are answered.
    #[track_caller]
    fn assert_talks(&self) {
        let (before, deadline) = (self.answers.load(Relaxed), Instant::now() + LONG);
        while self.answers.load(Relaxed) < before + 10 {
            assert!(!self.has_ended(), "cut after {} answers", self.answers.load(Relaxed));
            assert!(Instant::now() < deadline, "no answers any more");
            std::thread::sleep(milliseconds(5));
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a request on this connection was; the answer has a length.
fn answered(stream: &mut impl ReadWrite) -> bool {
    let request = b"GET /version HTTP/1.1\r\nhost: kubernetes\r\n\r\n";
    if stream.write_all(request).is_err() {
        return false;
    }
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return false;
        }
        head.extend(byte);
    }
    let head = text(&head).to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    stream.read_exact(&mut body).is_ok()
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

#[test]
fn the_virtual_ip_its_connections_and_its_advertisements_outlive_the_process() {
    let (mut cluster, _strays) = start(DOCUMENT);
    let holder = cluster.holder();
    let others: Vec<usize> = (0..3).filter(|it| *it != holder).collect();
    cluster.ask_every(milliseconds(5));
    let talkers = [VIP, VIP_V6].map(|address| Talker::start(&cluster.world, address));
    let witness = cluster.world.client();
    let capture = Capture::start(witness, cluster.world.directory().join("adverts.pcap"));
    let before: Vec<_> = others.iter().map(|it| cluster.status_of(*it).unwrap()).collect();
    let begin = cluster.now();
    cluster.pass(milliseconds(500));

    // Twice, as the new process is to be as good as the first; a Backup beside the holder.
    for node in [holder, others[0], holder] {
        let old = pid(&cluster, node);
        upgraded(&cluster, node);
        let status = cluster.status_of(node).unwrap();
        assert_eq!(status["ready"], true);
        let state = if node == holder { "Active" } else { "Backup" };
        assert_eq!(status["virtual_routers"][0]["state"], state);
        assert_eq!(status["virtual_routers"][1]["state"], state);
        let host = cluster.world.node(node).host();
        let rules = common::on(host, "nft list ruleset");
        assert!(rules.contains("tcp dport 9443 counter") && rules.contains(":6444"), "{rules}");
        assert!(common::on(host, "ss -ltnH").contains("*:9444"));
        if node == holder {
            assert!(controllers(&cluster, node).contains(&old), "it serves its connections");
        }
        cluster.pass(seconds(1));
    }

    talkers.iter().for_each(Talker::assert_talks);
    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert!(figures.answered > 500, "{figures:?}");
    assert_eq!(cluster.watch_changes_since(begin), []);
    let changes = cluster.holdings().changes().to_vec();
    assert!(changes.iter().all(|change| change.at < begin), "{changes:?}");
    let gaps = capture.longest_gaps();
    println!("longest time between two advertisements: {gaps:.3?} s");
    assert!(gaps.iter().all(|gap| *gap < DOWN_INTERVAL), "{gaps:?}");
    let last = others[1];
    assert_eq!(transitions(&cluster.status_of(last).unwrap()), transitions(&before[1]));
    // What has moved to the new process moves on as ever, and takes the old connections along.
    let begin = cluster.now();
    let newest = Pid::from_raw(pid(&cluster, holder)).unwrap();
    kill_process(newest, Signal::TERM).unwrap();
    cluster.eventually("all processes of the node have ended", |cluster| {
        controllers(cluster, holder).is_empty()
    });
    assert_ne!(cluster.holder(), holder);
    assert_eq!(cluster.moves_since(begin), 1);
    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    assert_eq!((cluster.tables(holder), cluster.addresses(holder)), (String::new(), 0));
    cluster.eventually("the old connections are cut", |_| talkers.iter().all(Talker::has_ended));
}

/// A program of the world's own, in place of the one under test.
fn install(program: &Path, from: impl FnOnce(&Path)) {
    let new = program.with_extension("new");
    from(&new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    // A program that runs cannot be written to.
    fs::rename(&new, program).unwrap();
}

fn script(text: &'static str) -> impl FnOnce(&Path) {
    move |path| fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap()
}

fn the_real_one(path: &Path) {
    fs::copy(CPLB, path).unwrap();
}

/// A cluster of IPv4 alone whose controllers run a program of the world's own, which is returned.
fn start_installed() -> (Cluster, Strays, PathBuf) {
    let plan = {
        let address = format!("{VIP}/24").parse().unwrap();
        Plan::new(Path::new(CPLB), &ipv4_alone(), &[address], 3).unwrap()
    };
    let mut cluster = Cluster::build(plan);
    let strays = strays(&cluster.world);
    let directory = cluster.world.directory().to_owned();
    let program = directory.join("cplb");
    install(&program, the_real_one);
    for node in 0..3 {
        let node_directory = cluster.world.node(node).run_dir.parent().unwrap().to_owned();
        let launch = Launch::new("env")
            .argument(format!("NOTIFY_SOCKET={}", notify_socket(&cluster.world, node).display()))
            .argument(&program)
            .argument("controller")
            .option("--config", directory.join("config.yaml"))
            .option("--kubeconfig", node_directory.join("admin.conf"))
            .option("--run-dir", &cluster.world.node(node).run_dir)
            .option("--state-dir", node_directory.join("state"));
        cluster.world.node_mut(node).controller.replace(launch);
    }
    (cluster, strays, program)
}

/// Where a controller of [`start_installed`] tells systemd.
fn notify_socket(world: &World, node: usize) -> PathBuf {
    world.node(node).run_dir.with_file_name("notify")
}

/// And where the old process may take a while to end.
fn ipv4_alone() -> String {
    let document = DOCUMENT.replace(r#", "fd00:10::100/64""#, "");
    document.replace("loadBalancer:", "loadBalancer:\n        drainTimeout: 3s")
}

#[test]
fn what_cannot_go_on_changes_nothing() {
    let (mut cluster, _strays, program) = start_installed();
    let systemd = (0..3).map(|node| UnixDatagram::bind(notify_socket(&cluster.world, node)));
    let systemd: Vec<_> = systemd.collect::<Result<_, _>>().unwrap();
    cluster.world.start_all().unwrap();
    let holder = cluster.settle();
    cluster.ask();
    let begin = cluster.now();
    let before = cluster.status_of(holder).unwrap();
    let rules = common::on(cluster.world.node(holder).host(), "nft --stateless list ruleset");

    let refused = |cluster: &Cluster, why: &str| {
        let output = upgrade(cluster, holder, &["--within", "2"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{why}: {output:?}");
        cluster.eventually("only the old process runs", |cluster| {
            controllers(cluster, holder).len() == 1
        });
        let status = cluster.status_of(holder).unwrap();
        assert_eq!(status["pid"], before["pid"]);
        assert_eq!(transitions(&status), transitions(&before));
    };

    install(&program, script("exit 3"));
    refused(&cluster, "the new process ended (exit status: 3)");
    install(&program, script("exec sleep 60"));
    refused(&cluster, "the new process was not ready within 2s");
    install(&program, script("exec sleep 60 <&-"));
    refused(&cluster, "the new process does not speak to this one");
    install(&program, |path| fs::write(path, "no program").unwrap());
    refused(&cluster, "process goes on: cannot start");
    install(&program, the_real_one);
    let (config, one_family) = (cluster.world.directory().join("config.yaml"), ipv4_alone());
    fs::write(&config, one_family.replace("advertInterval", "advertInterva")).unwrap();
    refused(&cluster, "not usable");
    fs::write(
        &config,
        one_family.replace("version: 3", "version: 3\n          virtualRouterID: 9"),
    )
    .unwrap();
    refused(&cluster, "virtual router 51 of cplb-vip-0");
    fs::write(&config, &one_family).unwrap();

    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_eq!(cluster.moves_since(begin), 0);
    assert!(cluster.holdings().changes().iter().all(|change| change.at < begin));
    let host = cluster.world.node(holder).host();
    assert_eq!(common::on(host, "nft --stateless list ruleset"), rules);
    assert_eq!(cluster.watch_changes_since(begin), []);

    // After all that, a good one goes on, by a signal.
    let talker = Talker::start(&cluster.world, VIP);
    cluster.world.node_mut(holder).controller.send(Signal::USR2).unwrap();
    cluster.eventually("the new process answers", |cluster| {
        cluster.status_of(holder).is_some_and(|status| status["pid"] != before["pid"])
    });
    talker.assert_talks();
    assert_eq!(cluster.watch_changes_since(begin), []);
    let old = before["pid"].as_i64().unwrap() as i32;
    cluster.eventually("the old process has ended with the drain's deadline", |cluster| {
        !controllers(cluster, holder).contains(&old)
    });
    cluster.eventually("its connections too", |_| talker.has_ended());
    assert_eq!(cluster.figures_since(begin).failed(), 0);
    assert_eq!(cluster.moves_since(begin), 0);
    // systemd takes word from the main process alone: of who that is now, too.
    let told = told(&systemd[holder]);
    assert_eq!(told.matches("READY=1").count(), 1, "{told}");
    let main = format!("MAINPID={}\n", pid(&cluster, holder));
    assert_eq!(told.matches(&main).count(), 1, "{told}");
    assert_eq!(told.matches("MAINPID=").count(), 1, "{told}");
}

/// What systemd has been told so far.
fn told(systemd: &UnixDatagram) -> String {
    systemd.set_nonblocking(true).unwrap();
    let mut all = String::new();
    let mut message = [0; 1024];
    while let Ok(length) = systemd.recv(&mut message) {
        all += &text(&message[..length]);
    }
    all
}

#[test]
fn a_process_killed_in_the_middle_leaves_one_holder() {
    let (mut cluster, _strays) = start(DOCUMENT);
    let mut taken_over = 0;
    // Whatever it is at then, on this machine.
    for after in [5, 10, 15, 20, 50] {
        let holder = cluster.settle();
        let old = pid(&cluster, holder);
        let run_dir = cluster.world.node(holder).run_dir.clone();
        let asking = Command::new(CPLB).args(["upgrade", "--run-dir"]).arg(run_dir).spawn();
        let mut asking = asking.unwrap();
        let begin = cluster.now();
        std::thread::sleep(milliseconds(after));
        kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
        asking.wait().unwrap();
        cluster.tell(&format!("process {old} killed {after} ms after the upgrade began"));
        cluster.eventually("the new process answers, or is gone", |cluster| {
            let answers = cluster.status_of(holder).is_some_and(|status| status["pid"] != old);
            answers || controllers(cluster, holder).is_empty()
        });
        if controllers(&cluster, holder).is_empty() {
            let heir = |cluster: &Cluster| {
                cluster.holders().len() == 1 && !cluster.holders().contains(&holder)
            };
            cluster.eventually("another node holds", heir);
            // A dead process's address is gone after two seconds and a bit.
            assert!(cluster.doubly_held_since(begin) <= seconds(3));
            let controller = &mut cluster.world.node_mut(holder).controller;
            assert!(controller.wait(LONG));
            controller.start().unwrap();
        } else {
            taken_over += 1;
            cluster.pass(seconds(1));
            assert_eq!(cluster.holder(), holder);
            assert_eq!(cluster.moves_since(begin), 0);
            assert_eq!(cluster.tables(holder), "table inet cplb\n");
        }
    }
    println!("the new process had taken over {taken_over} times");
}

#[test]
fn a_process_killed_while_the_new_one_starts_takes_that_along() {
    let (mut cluster, _strays, program) = start_installed();
    cluster.world.start_all().unwrap();
    let holder = cluster.settle();
    let old = pid(&cluster, holder);
    install(&program.with_file_name("real"), the_real_one);
    install(&program, script(r#"sleep 1; exec "${0%/*}/real" "$@""#));
    cluster.world.node_mut(holder).controller.send(Signal::USR2).unwrap();
    cluster
        .eventually("the new process is started", |cluster| controllers(cluster, holder).len() > 1);
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    cluster.eventually("nothing is left of it", |cluster| controllers(cluster, holder).is_empty());
    let log = cluster.log_of(holder);
    assert!(log.contains("the previous process ended before it had passed"), "{log}");
    cluster.eventually("another node holds", |cluster| {
        cluster.holders().len() == 1 && cluster.holder() != holder
    });
    assert_eq!(cluster.tables(holder), "");
}
