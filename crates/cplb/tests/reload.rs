//! SIGHUP: what differs is changed, what is the same does not notice, and a faulty file changes
//! nothing. In network namespaces; needs root. What is sent is what tcpdump on another host saw.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{Cluster, LONG, certificates, each, on, plan, text};
use lab::world::{Host, State};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Longest time between two advertisements of an interval of 1 s.
const LONGEST_GAP: Duration = Duration::from_millis(1_300);

const FIRST: &str = "{virtualIPs: [10.0.0.100/24], virtualRouterID: 51, authPass: BuyK0s}";
const SECOND: &str = "{virtualIPs: [10.0.0.110/24], virtualRouterID: 52, authPass: BuyK0s}";
const SECOND_MOVED: &str = "{virtualIPs: [10.0.0.111/24], virtualRouterID: 52, authPass: BuyK0s}";
const THIRD: &str = "{virtualIPs: [10.0.0.120/24], virtualRouterID: 53, authPass: BuyK0s}";

/// A document with these VRRP instances, the first in line 7, column 11.
fn document(instances: &[&str]) -> String {
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - {}
",
        instances.join("\n        - ")
    )
}

/// The same with further fields of the load balancer.
fn with_load_balancer(instances: &[&str], fields: &str) -> String {
    format!("{}      loadBalancer: {{{fields}}}\n", document(instances))
}

/// One controller beside three apiservers, holding every virtual IP of this document.
fn start(document: String) -> Cluster {
    let mut plan = plan();
    plan.document = document;
    let mut cluster = Cluster::build(plan);
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the only controller is ready, Active and knows all apiservers", |it| {
        let Some(status) = it.status_of(0) else { return false };
        let apiservers = status["load_balancer"]["apiservers"].as_array().unwrap();
        let healthy = apiservers.iter().filter(|one| one["health"] == "healthy").count();
        status["ready"] == true && states(&status).iter().all(|it| it == "Active") && healthy == 3
    });
    cluster
}

/// Puts a document in place of the old one and sends SIGHUP; what is logged because of it.
fn reload(cluster: &mut Cluster, document: &str) -> String {
    fs::write(cluster.world.directory().join("config.yaml"), document).unwrap();
    hang_up(cluster)
}

fn hang_up(cluster: &mut Cluster) -> String {
    let before = cluster.log_of(0).len();
    cluster.world.node_mut(0).controller.send(Signal::HUP).unwrap();
    let logged = |cluster: &Cluster| cluster.log_of(0)[before..].to_owned();
    cluster.eventually("the reload has ended", |cluster| {
        let logged = logged(cluster);
        logged.contains("configuration applied") || logged.contains("SIGHUP: ")
    });
    logged(cluster)
}

fn states(status: &Value) -> Vec<String> {
    let routers = status["virtual_routers"].as_array().unwrap();
    routers.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

/// What must not change in a virtual router that a reload does not concern.
fn identity(status: &Value, router: usize) -> Value {
    let router = &status["virtual_routers"][router];
    json!([
        router["name"],
        router["state"],
        router["virtual_ips"],
        router["became_active"],
        router["transitions"],
    ])
}

/// The virtual IPs on the controller's interface: those between .100 and .199.
fn held(cluster: &Cluster) -> Vec<String> {
    let addresses = on(cluster.world.node(0).host(), "ip -o -4 address show dev eth0");
    let words = addresses.split_whitespace().filter(|word| word.starts_with("10.0.0.1"));
    let mut held: Vec<String> =
        words.filter(|word| word.len() == "10.0.0.100/24".len()).map(str::to_owned).collect();
    held.sort();
    held
}

/// tcpdump on a host, from the start of this on.
struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

/// An advertisement as tcpdump shows it.
struct Advertisement {
    at: f64,
    virtual_router_id: u8,
}

impl Capture {
    fn start(host: &Host, file: PathBuf) -> Self {
        let command = host.command("tcpdump").args(["-q", "-i", "eth0", "-U", "-Z", "root", "-w"]);
        let tcpdump = command.arg(&file).args(["ip", "proto", "112"]).spawn().unwrap();
        let capture = Self { tcpdump, file };
        // The header of the file is written once it listens.
        let deadline = Instant::now() + LONG;
        while fs::metadata(&capture.file).map_or(0, |file| file.len()) == 0 {
            assert!(Instant::now() < deadline, "tcpdump does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        capture
    }

    fn stop(mut self) -> Vec<Advertisement> {
        self.end();
        let shown =
            Command::new("tcpdump").args(["-n", "-tt", "-r"]).arg(&self.file).output().unwrap();
        text(&shown.stdout).lines().filter_map(Advertisement::parse).collect()
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

impl Advertisement {
    /// `1700000000.123456 IP 10.0.0.11 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 200, ...`
    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (_, rest) = rest.split_once("Advertisement, vrid ")?;
        let (id, _) = rest.split_once(',')?;
        Some(Self { at: time.parse().ok()?, virtual_router_id: id.parse().ok()? })
    }
}

/// The advertisements of one virtual router came without a gap, for as long as this at least.
#[track_caller]
fn assert_steady(heard: &[Advertisement], virtual_router_id: u8, at_least: Duration) {
    let ours = heard.iter().filter(|it| it.virtual_router_id == virtual_router_id);
    let times: Vec<f64> = ours.map(|it| it.at).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("gaps of virtual router {virtual_router_id}: {gaps:.3?}");
    let heard_for = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
    assert!(heard_for >= at_least.as_secs_f64() - 2.0, "heard for {heard_for} s of {at_least:?}");
    assert!(gaps.iter().all(|gap| *gap <= LONGEST_GAP.as_secs_f64()), "{gaps:?}");
}

#[test]
fn what_is_added_changed_and_removed_does_not_disturb_what_is_the_same() {
    let mut cluster = start(document(&[FIRST, SECOND]));
    let before = identity(&cluster.status_of(0).unwrap(), 0);
    let witness = cluster.world.node(1).host();
    let capture = Capture::start(witness, cluster.world.directory().join("adverts.pcap"));
    let begin = cluster.now();
    cluster.pass(Duration::from_secs(2));
    assert_eq!(held(&cluster), ["10.0.0.100/24", "10.0.0.110/24"]);

    let log = reload(&mut cluster, &document(&[FIRST, SECOND, THIRD]));
    assert!(log.contains(r#"added=["cplb-vip-2"] updated=[] removed=[]"#), "{log}");
    cluster.eventually("the added virtual IP is here", |cluster| {
        held(cluster) == ["10.0.0.100/24", "10.0.0.110/24", "10.0.0.120/24"]
    });
    cluster.pass(Duration::from_secs(2));

    let log = reload(&mut cluster, &document(&[FIRST, SECOND_MOVED, THIRD]));
    assert!(log.contains(r#"added=[] updated=["cplb-vip-1"] removed=[]"#), "{log}");
    cluster.eventually("the changed virtual IP is here, the old one gone", |cluster| {
        held(cluster) == ["10.0.0.100/24", "10.0.0.111/24", "10.0.0.120/24"]
    });
    let rules = on(cluster.world.node(0).host(), "nft list ruleset");
    assert!(rules.contains("10.0.0.111") && !rules.contains("10.0.0.110"), "{rules}");
    cluster.pass(Duration::from_secs(2));

    let log = hang_up(&mut cluster);
    assert!(log.contains("added=[] updated=[] removed=[]"), "{log}");
    let log = reload(&mut cluster, &document(&[FIRST]));
    assert!(log.contains(r#"added=[] updated=[] removed=["cplb-vip-1", "cplb-vip-2"]"#), "{log}");
    cluster.eventually("the removed virtual IPs are gone", |cluster| {
        held(cluster) == ["10.0.0.100/24"]
    });
    cluster.pass(Duration::from_secs(2));

    let took = cluster.now() - begin;
    let heard = capture.stop();
    assert_steady(&heard, 51, took);
    for id in [52, 53] {
        assert!(heard.iter().any(|it| it.virtual_router_id == id), "nothing of {id} was heard");
    }
    assert_eq!(identity(&cluster.status_of(0).unwrap(), 0), before);
    assert_eq!(cluster.moves_since(begin), 0);
}

#[test]
fn a_faulty_file_changes_nothing_and_says_where_it_is_faulty() {
    let mut cluster = start(document(&[FIRST, SECOND]));
    let path = cluster.world.directory().join("config.yaml");
    let before: Vec<Value> =
        (0..2).map(|it| identity(&cluster.status_of(0).unwrap(), it)).collect();
    let rules = on(cluster.world.node(0).host(), "nft --stateless list ruleset");
    let witness = cluster.world.node(1).host();
    let capture = Capture::start(witness, cluster.world.directory().join("adverts.pcap"));
    let begin = cluster.now();
    cluster.pass(Duration::from_secs(1));

    let at = |place: &str| format!("{}:{place}", path.display());
    // Beside every fault stands a change that would be fine.
    let typing_error = SECOND_MOVED.replace("virtualRouterID", "virtualRouterId");
    let no_interface = SECOND_MOVED.replace('{', "{interface: eth7, ");
    for (faulty, told) in [
        (
            document(&[FIRST, &typing_error]),
            at("8:41: error: unknown field \"virtualRouterId\" in vrrpInstances[1]"),
        ),
        (document(&[SECOND_MOVED, SECOND_MOVED]), at("8:25: error: virtual IP 10.0.0.111")),
        ("spec: [".to_owned(), at("1:7: error: unclosed bracket")),
        (String::new(), at("1:1: error: no k0s configuration in this file")),
        (document(&[FIRST, &no_interface]), "SIGHUP: there is no interface eth7".to_owned()),
        (
            document(&[FIRST, SECOND_MOVED]).replace("enabled: true", "enabled: false"),
            format!("SIGHUP: {}: controlPlaneLoadBalancing is not enabled", path.display()),
        ),
        (
            with_load_balancer(&[FIRST, SECOND_MOVED], "redirect: iptables"),
            "SIGHUP: loadBalancer.redirect can only be changed by a restart".to_owned(),
        ),
    ] {
        let log = reload(&mut cluster, &faulty);
        println!("{log}");
        assert!(log.contains(&told), "{told} in {log}");
        assert!(!log.contains("configuration applied"), "{log}");
        assert!(!log.contains("BuyK0s"), "{log}");
    }
    fs::remove_file(&path).unwrap();
    let log = hang_up(&mut cluster);
    assert!(
        log.contains(&format!("SIGHUP: cannot read {}: No such file", path.display())),
        "{log}"
    );
    cluster.pass(Duration::from_secs(2));

    assert_eq!(held(&cluster), ["10.0.0.100/24", "10.0.0.110/24"]);
    assert_eq!(on(cluster.world.node(0).host(), "nft --stateless list ruleset"), rules);
    let status = cluster.status_of(0).unwrap();
    assert_eq!((0..2).map(|it| identity(&status, it)).collect::<Vec<_>>(), before);
    assert_eq!((&status["ready"], &status["leaving"]), (&json!(true), &json!(false)));
    assert_eq!(cluster.world.node_mut(0).controller.state(), State::Running);
    let took = cluster.now() - begin;
    let heard = capture.stop();
    assert_steady(&heard, 51, took);
    assert_steady(&heard, 52, took);

    // A good file is still taken after all that.
    let log = reload(&mut cluster, &document(&[FIRST, SECOND_MOVED]));
    assert!(log.contains(r#"updated=["cplb-vip-1"]"#), "{log}");
}

#[test]
fn the_redirect_comes_and_goes() {
    let redirected = |by: &str| with_load_balancer(&[FIRST], &format!("redirect: {by}"));
    let mut cluster = start(redirected("none"));
    let before = identity(&cluster.status_of(0).unwrap(), 0);
    let witness = cluster.world.node(1).host();
    let capture = Capture::start(witness, cluster.world.directory().join("adverts.pcap"));
    let begin = cluster.now();
    // Without it the virtual IP leads to the holder's own apiserver.
    let own = || [("kube-apiserver-1".to_owned(), 6)].into();
    let asked = |cluster: &Cluster| certificates(cluster.world.client(), "10.0.0.100:6443", 6);
    assert_eq!(cluster.tables(0), "");
    assert_eq!(asked(&cluster), own());

    for _ in 0..2 {
        let log = reload(&mut cluster, &redirected("auto"));
        assert!(log.contains("added=[] updated=[] removed=[]"), "{log}");
        assert_eq!(cluster.tables(0), "table inet cplb\n");
        assert_eq!(asked(&cluster), each(2));
        let status = cluster.status_of(0).unwrap();
        assert_eq!(status["load_balancer"]["redirects"], json!(["10.0.0.100:6443 to 6444"]));

        reload(&mut cluster, &redirected("none"));
        assert_eq!(cluster.tables(0), "");
        assert_eq!(asked(&cluster), own());
        assert_eq!(cluster.status_of(0).unwrap()["load_balancer"]["redirects"], json!([]));
    }
    cluster.pass(Duration::from_secs(2));

    let took = cluster.now() - begin;
    assert_steady(&capture.stop(), 51, took);
    assert_eq!(identity(&cluster.status_of(0).unwrap(), 0), before);
}
