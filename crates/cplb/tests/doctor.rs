//! `cplb doctor` and `cplb scan`: quiet about a healthy cluster, and right about what is wrong with
//! another. In network namespaces; needs root and keepalived.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use common::{CPLB, Cluster, LONG, VIP, on, plan, text, try_on, virtual_ip, world};
use kernel::address::{Addresses, VirtualAddress};
use kernel::link::{self, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::netns;
use lab::world::{Host, Plan, World};
use rustix::process::Signal;
use serde_json::Value;

/// What a doctor said, and how it ended.
struct Diagnosis {
    code: Option<i32>,
    report: Value,
}

impl Diagnosis {
    fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
        Self { code: output.status.code(), report }
    }

    /// What was seen by this check at this severity.
    fn seen(&self, severity: &str, check: &str) -> Vec<&str> {
        let findings = self.report["findings"].as_array().unwrap();
        let fitting = findings.iter().filter(|it| it["severity"] == severity);
        let fitting = fitting.filter(|it| it["check"] == check);
        fitting.map(|it| it["seen"].as_str().unwrap()).collect()
    }

    #[track_caller]
    fn assert_error(&self, check: &str, seen: &str) {
        let errors = self.seen("error", check);
        assert!(errors.iter().any(|it| it.contains(seen)), "{check}: {seen}: {:#}", self.report);
        assert_eq!(self.code, Some(1));
    }

    #[track_caller]
    fn assert_ok(&self, check: &str, seen: &str) {
        assert_eq!(self.seen("ok", check), [seen], "{:#}", self.report);
    }
}

/// Lets a host's doctor look, by the cluster's document and this run directory.
fn doctor(world: &World, host: &Host, run_dir: &Path, more: &str) -> Diagnosis {
    let config = world.directory().join("config.yaml");
    let (config, run_dir) = (config.display(), run_dir.display());
    let line = format!("{CPLB} doctor -o json --config {config} --run-dir {run_dir}{more}");
    Diagnosis::of(&try_on(host, &line))
}

/// The same on a node, with the node's kubeconfig.
fn doctor_of(world: &World, node: usize) -> Diagnosis {
    let node = world.node(node);
    let kubeconfig = node.run_dir.with_file_name("admin.conf");
    let more = format!(" --kubeconfig {}", kubeconfig.display());
    doctor(world, node.host(), &node.run_dir, &more)
}

/// A keepalived on a host; ends with this.
struct Keepalived(Child);

impl Keepalived {
    fn start(world: &World, host: &Host, instance: &str) -> Self {
        let file = |name: &str| world.directory().join(format!("keepalived-{}.{name}", host.name));
        fs::write(file("conf"), instance).unwrap();
        let command =
            host.command("keepalived").args(["--dont-fork", "--no-syslog", "--log-console"]);
        let command = command.arg("--use-file").arg(file("conf"));
        let command = command.arg("--pid").arg(file("pid"));
        let command = command.arg("--vrrp_pid").arg(file("vrrp.pid"));
        Self(command.arg("--checkers_pid").arg(file("checkers.pid")).spawn().unwrap())
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its children end with it (PR_SET_PDEATHSIG).
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another cluster on the same identifier: other password, other address.
const FOREIGN: &str = "\
vrrp_instance foreign {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass other
    }
    virtual_ipaddress {
        10.0.0.200/24
    }
}
vrrp_instance foreign6 {
    version 3
    state MASTER
    interface eth0
    virtual_router_id 61
    priority 150
    advert_int 0.5
    virtual_ipaddress {
        fd05::200/64
    }
}
";

#[test]
fn a_healthy_cluster_has_no_error_until_a_stranger_takes_its_address() {
    let cluster = Cluster::start();
    let holder = cluster.holder();
    let backup = (holder + 1) % 3;
    let holder_address = cluster.address(holder);
    let begin = cluster.now();

    let diagnosis = doctor_of(&cluster.world, holder);
    cluster.tell("the holder's doctor looked");

    assert_eq!(diagnosis.report["errors"], 0, "{:#}", diagnosis.report);
    assert_eq!(diagnosis.code, Some(0));
    diagnosis.assert_ok("vrrp", "virtual router 51 on eth0: this node is Active");
    diagnosis
        .assert_ok("virtual-ip", "10.0.0.100 on eth0 is on this node, nobody else answers for it");
    // The lab's certificates last for a week, so that only their end is worth a word.
    let [warning] = diagnosis.seen("warning", "certificate")[..] else {
        panic!("one warning: {:#}", diagnosis.report)
    };
    let expires = "the certificate of the apiserver at 127.0.0.1:6443 expires on ";
    assert!(warning.starts_with(expires), "{warning}");
    diagnosis.assert_ok("endpoints", "the apiservers are 10.0.0.11, 10.0.0.12, 10.0.0.13");
    diagnosis.assert_ok("leftovers", "nothing is left of an earlier run");
    diagnosis.assert_ok("rp_filter", "no client is filtered for the way back to it");

    let diagnosis = doctor_of(&cluster.world, backup);
    cluster.tell("a backup's doctor looked");
    assert_eq!(diagnosis.report["errors"], 0, "{:#}", diagnosis.report);
    diagnosis.assert_ok("vrrp", &format!("virtual router 51 on eth0: {holder_address} is Active"));
    diagnosis.assert_ok("virtual-ip", &format!("10.0.0.100 on eth0 is at {holder_address}"));
    diagnosis.assert_ok("protocol-112", "this host drops no advertisement that reaches it");

    // What the daemon runs serves in place of the document.
    let node = cluster.world.node(backup);
    let line = format!("{CPLB} doctor -o json --run-dir {}", node.run_dir.display());
    let diagnosis = Diagnosis::of(&try_on(node.host(), &line));
    diagnosis.assert_ok("vrrp", &format!("virtual router 51 on eth0: {holder_address} is Active"));

    let scan = scan(node.host(), &format!(" --run-dir {}", node.run_dir.display()));
    let speaker = &scan["speakers"][0];
    assert_eq!(speaker["source"], holder_address.to_string().as_str(), "{scan:#}");
    assert_eq!(speaker["ours"], true);
    assert_eq!(speaker["advertisement"]["priority"], 200);

    assert_eq!(cluster.moves_since(begin), 0, "looking changes nothing");
    let stranger: VirtualAddress = format!("{VIP}/24").parse().unwrap();
    let client = &cluster.world.client().namespace;
    client.run(|| netns::add_address("eth0", &stranger)).unwrap().unwrap();
    cluster.tell("a stranger has the virtual IP");
    let diagnosis = doctor_of(&cluster.world, holder);
    diagnosis.assert_error("virtual-ip", "10.0.0.100 on eth0 is on this node and answered by");
    let diagnosis = doctor_of(&cluster.world, backup);
    diagnosis.assert_error("virtual-ip", "10.0.0.100 on eth0 is answered by");
}

#[test]
fn ipv6_is_looked_at_alike_and_a_frozen_daemon_is_noticed() {
    let document = common::DOCUMENT.replace("10.0.0.100/24", "fd00::100/64");
    let document = document.replace("authPass: BuyK0s", "authPass: BuyK0s\n          version: 3");
    let virtual_ip: VirtualAddress = "fd00::100/64".parse().unwrap();
    let plan = Plan::new(Path::new(CPLB), &document, &[virtual_ip], 2).unwrap();
    let mut world = world(plan);
    world.start_all().unwrap();
    let deadline = Instant::now() + LONG;
    let holder = loop {
        match world.holders(virtual_ip.address).unwrap().as_slice() {
            [holder] => break *holder,
            holders => assert!(Instant::now() < deadline, "held by {holders:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let backup = 1 - holder;

    let diagnosis = doctor_of(&world, holder);
    assert_eq!(diagnosis.report["errors"], 0, "{:#}", diagnosis.report);
    diagnosis.assert_ok("vrrp", "virtual router 51 on eth0: this node is Active");
    let diagnosis = doctor_of(&world, backup);
    assert_eq!(diagnosis.report["errors"], 0, "{:#}", diagnosis.report);
    // Routers speak from their link-local addresses.
    let seen = diagnosis.seen("ok", "virtual-ip");
    assert!(seen[0].starts_with("fd00::100 on eth0 is at fe80::"), "{seen:?}");

    world.node_mut(backup).controller.freeze().unwrap();
    let diagnosis = doctor_of(&world, backup);
    diagnosis.assert_error("daemon", "the daemon does not answer on its admin socket");
    assert_eq!(diagnosis.report["errors"], 1, "{:#}", diagnosis.report);
    diagnosis.assert_ok("leftovers", "nothing is left of an earlier run");

    // What a killed daemon leaves for ever, since the kernel does not know whose it is.
    world.node_mut(backup).controller.kill().unwrap();
    assert!(world.node_mut(backup).controller.wait(LONG));
    let labels = |world: &World| on(world.node(backup).host(), "ip addrlabel list");
    assert!(labels(&world).contains("fd00::100/128"), "{}", labels(&world));
    let diagnosis = doctor_of(&world, backup);
    let left = ["the address label of fd00::100 is there, and no daemon"];
    assert_eq!(diagnosis.seen("warning", "leftovers"), left, "{:#}", diagnosis.report);
    let cleanup = format!("{CPLB} cleanup --run-dir {}", world.node(backup).run_dir.display());
    let removed = on(world.node(backup).host(), &cleanup);
    assert!(removed.contains("removed the address label of fd00::100\n"), "{removed}");
    assert!(!labels(&world).contains("fd00::100"), "{}", labels(&world));

    // The next start removes it as well, and a stop leaves none.
    for end in [Signal::KILL, Signal::TERM] {
        let controller = &mut world.node_mut(backup).controller;
        controller.start().unwrap();
        let deadline = Instant::now() + LONG;
        let status = format!("{CPLB} status --run-dir {}", world.node(backup).run_dir.display());
        while !try_on(world.node(backup).host(), &status).status.success() {
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(labels(&world).contains("fd00::100/128"), "{}", labels(&world));
        world.node_mut(backup).controller.send(end).unwrap();
        assert!(world.node_mut(backup).controller.wait(LONG));
    }
    assert!(!labels(&world).contains("fd00::100"), "{}", labels(&world));
    let log = fs::read_to_string(world.node(backup).controller.log()).unwrap();
    let told = "removed what an earlier run left: the address label of fd00::100";
    assert_eq!(log.matches(told).count(), 1, "{log}");
}

/// The other cluster comes with the same version and interval, so that only the password differs.
#[test]
fn the_daemon_itself_tells_of_another_cluster() {
    let mut world = world(plan());
    world.node_mut(0).apiserver.start().unwrap();
    world.node_mut(0).controller.start().unwrap();
    let _keepalived = Keepalived::start(&world, world.client(), FOREIGN);
    let client = world.client().address();
    let run_dir = world.node(0).run_dir.display().to_string();
    let deadline = Instant::now() + LONG;
    let warning = loop {
        let output = try_on(world.node(0).host(), &format!("{CPLB} status --run-dir {run_dir}"));
        let shown = text(&output.stdout);
        if let Some(line) = shown.lines().find(|line| line.contains("foreign router")) {
            println!("{shown}");
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let begins =
        format!("! cplb-vip-0: foreign router {client} on virtual router 51 for 10.0.0.200 (");
    assert!(warning.starts_with(&begins), "{warning}");
    assert!(warning.contains("): wrong password: "), "{warning}");

    let output =
        try_on(world.node(0).host(), &format!("{CPLB} status -o json --run-dir {run_dir}"));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let foreign = &status["virtual_routers"][0]["foreign"][0];
    assert_eq!(foreign["address"], client.to_string().as_str());
    assert_eq!(foreign["addresses"], serde_json::json!(["10.0.0.200"]));
    assert!(foreign["heard_ms"].as_u64().unwrap() < 2_000, "{foreign}");
    let socket = format!("curl --silent --unix-socket {run_dir}/admin.sock http://cplb/metrics");
    let metrics = on(world.node(0).host(), &socket);
    let counted = r#"cplb_vrrp_foreign_routers{router="cplb-vip-0",family="ipv4"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    let diagnosis = doctor_of(&world, 0);
    diagnosis.assert_error("daemon", &format!("cplb-vip-0 hears the foreign router {client}: "));
}

#[test]
fn another_cluster_on_the_segment_is_found_from_every_side() {
    let mut world = world(plan());
    world.node_mut(0).apiserver.start().unwrap();
    let keepalived = Keepalived::start(&world, world.client(), FOREIGN);
    // It listens for a down interval of 3.4 s first.
    std::thread::sleep(Duration::from_secs(4));

    let client = world.client().address();
    let scan = scan(world.node(0).host(), "");
    let [speaker, ipv6] = scan["speakers"].as_array().unwrap().as_slice() else {
        panic!("two speakers: {scan:#}")
    };
    assert_eq!(speaker["virtual_router_id"], 51);
    assert_eq!(speaker["source"], client.to_string().as_str());
    assert_eq!(speaker["ours"], Value::Null);
    assert_eq!(speaker["advertisement"]["version"], 2);
    assert_eq!(speaker["advertisement"]["priority"], 150);
    assert_eq!(speaker["advertisement"]["interval_announced_ms"], 1_000);
    assert_eq!(speaker["advertisement"]["authentication"], "password");
    assert_eq!(speaker["advertisement"]["addresses"], serde_json::json!(["10.0.0.200"]));
    let measured = speaker["interval_measured_ms"].as_u64().unwrap();
    assert!((900..1_200).contains(&measured), "{measured} ms");
    assert_eq!(ipv6["virtual_router_id"], 61);
    assert_eq!(ipv6["destination"], "ff02::12");
    assert_eq!(ipv6["advertisement"]["version"], 3);
    assert_eq!(ipv6["advertisement"]["interval_announced_ms"], 500);
    assert_eq!(ipv6["advertisement"]["addresses"], serde_json::json!(["fd05::200"]));

    on(world.node(1).host(), "nft add table inet filter");
    on(
        world.node(1).host(),
        "nft add chain inet filter input { type filter hook input priority 0 ; }",
    );
    on(world.node(1).host(), "nft add rule inet filter input ip protocol 112 drop");
    let [plain, filtered, same_host] = std::thread::scope(|scope| {
        let nowhere = Path::new("/nonexistent");
        let hosts = [world.node(0).host(), world.node(1).host(), world.client()];
        let world = &world;
        let looks = hosts.map(|host| scope.spawn(move || doctor(world, host, nowhere, "")));
        looks.map(|look| look.join().unwrap())
    });
    drop(keepalived);

    plain.assert_error("vrrp", &format!("{client} uses another password"));
    plain.assert_ok("virtual-ip", "10.0.0.100 on eth0 is on no node and answered by nobody");
    plain.assert_ok("rivals", "no other program here holds virtual IPs");
    filtered
        .assert_error("protocol-112", &format!("advertisements of {client} for virtual router 51"));
    assert_eq!(filtered.seen("error", "vrrp"), [""; 0], "it is not heard behind the firewall");
    same_host.assert_error("rivals", "as virtual router 51 too");
}

#[test]
fn what_is_wrong_on_this_host_is_found_and_left_alone() {
    let mut plan = plan();
    // The apiserver's certificate is for 10.0.0.100 alone.
    plan.document =
        plan.document.replace(r#"["10.0.0.100/24"]"#, r#"["10.0.0.100/24", "10.0.0.150/24"]"#);
    let eth0 = "authPass: BuyK0s\n          interface: eth0";
    plan.document = plan.document.replace("authPass: BuyK0s", eth0);
    let mut world = world(plan);
    world.node_mut(0).apiserver.start().unwrap();
    let host = world.node(0).host();
    leave_behind(host);
    // Clients come in by eth0, and answers to them leave by eth1.
    on(host, "ip link add eth1 type veth peer name eth2");
    on(host, "ip link set eth1 up");
    on(host, "ip address add 10.99.0.2/24 dev eth1");
    on(host, "ip route replace default via 10.99.0.1 dev eth1");
    let strict = || fs::write("/proc/sys/net/ipv4/conf/eth0/rp_filter", "1");
    host.namespace.run(strict).unwrap().unwrap();
    on(host, "nft add table inet cplb");
    // The rule that k0s leaves.
    on(
        host,
        "iptables -t nat -A PREROUTING -d 10.0.0.150/32 -p tcp --dport 6443 -j REDIRECT --to-ports 6444",
    );
    let proxy = format!("{CPLB} proxy --listen 0.0.0.0:6444 --backend 127.0.0.1:6443");
    let mut words = proxy.split(' ');
    let mut proxy = host.command(words.next().unwrap()).args(words).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));

    let (before, tables) = (on(host, "ip -o address"), on(host, "nft list ruleset"));
    let diagnosis = doctor(&world, host, Path::new("/nonexistent"), "");
    proxy.kill().unwrap();
    proxy.wait().unwrap();

    diagnosis
        .assert_error("leftovers", "10.0.0.100/24 carries the mark of cplb, and no daemon runs");
    diagnosis.assert_error("leftovers", "the nftables table cplb is there, and no daemon");
    diagnosis.assert_error("leftovers", "an iptables rule redirects 10.0.0.150:6443 to port 6444");
    diagnosis.assert_error("ports", "port 6444 is taken by cplb");
    diagnosis.assert_error(
        "certificate",
        "the certificate of the apiserver at 127.0.0.1:6443 is not for 10.0.0.150",
    );
    let strict =
        "rp_filter is strict on eth0, and the way back to clients beyond its subnet is eth1";
    assert_eq!(diagnosis.seen("warning", "rp_filter"), [strict], "{:#}", diagnosis.report);
    assert_eq!(without_lifetimes(&on(host, "ip -o address")), without_lifetimes(&before));
    assert_eq!(on(host, "nft list ruleset"), tables);

    // A machine that has the address and speaks no VRRP, seen from another node.
    let diagnosis = doctor(&world, world.node(1).host(), Path::new("/nonexistent"), "");
    diagnosis.assert_error("virtual-ip", "10.0.0.100 on eth0 is answered by");
    diagnosis.assert_ok("leftovers", "nothing is left of an earlier run");
}

/// What a killed daemon leaves on a host for a moment, for longer.
fn leave_behind(host: &Host) {
    let address = VirtualAddress { address: virtual_ip(), prefix_length: 24 };
    let hold = || {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let eth0 = link::find(&mut socket, &Selector::Name("eth0".into())).unwrap();
        let mut addresses = Addresses::open().unwrap();
        addresses.hold(eth0.index, &address, Duration::from_secs(300)).unwrap();
    };
    host.namespace.run(hold).unwrap();
}

fn without_lifetimes(addresses: &str) -> Vec<&str> {
    addresses.lines().map(|line| line.split("valid_lft").next().unwrap()).collect()
}

fn scan(host: &Host, more: &str) -> Value {
    let line = format!("{CPLB} scan -o json --interface eth0 --seconds 3{more}");
    serde_json::from_str(&on(host, &line)).unwrap()
}
