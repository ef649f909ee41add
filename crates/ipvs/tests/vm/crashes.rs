//! A process that is killed leaves its services behind, and the next one or the clean-up removes
//! them.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ipvs::{Director, Forwarding, Handle, Scheduler, VirtualServer, remove_leftovers};
use rustix::process::{Pid, Signal, kill_process};

use crate::Test;
use crate::node::{Node, hold, round_robin, settings};
use crate::world::{PORT, VIP, World, count, vip, vip6, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("cleanup_removes_what_a_killed_process_left", cleanup),
    ("the_next_start_removes_what_a_killed_process_left", next_start),
    ("a_killed_director_is_no_trap_for_its_heir", killed_director),
    ("a_frozen_director_loses_its_services", frozen_director),
    ("the_last_will_outlives_a_polite_end", last_will_outlives_a_polite_end),
    ("nothing_is_left_after_an_orderly_end", orderly_end),
];

/// Names the state file of the process that is to be killed.
pub(crate) const VICTIM: &str = "CPLB_TEST_VICTIM";

/// Says that it is to have no process that outlives it, as when the whole group is killed.
const ALONE: &str = "CPLB_TEST_VICTIM_ALONE";

const SERVICES_OF_THE_VICTIM: usize = 2;

fn servers_of_the_victim() -> Vec<VirtualServer> {
    let tunnel = VirtualServer {
        scheduler: Scheduler::SourceHashing,
        forwarding: Forwarding::Tunnel,
        ..round_robin(vip6())
    };
    vec![round_robin(vip()), tunnel]
}

/// Installs everything and waits for its end.
pub(crate) fn be_the_victim(state_file: &Path) -> ! {
    let settings = settings(servers_of_the_victim(), state_file.to_owned());
    let real_servers = [11, 12, 13].map(|last| ([10, 0, 0, last], PORT).into());
    let addresses = [vip().ip(), vip6().ip()];
    if env::var_os(ALONE).is_some() {
        let mut director = Director::open(settings).unwrap();
        director.set_usable(&real_servers, Instant::now()).unwrap();
        director.hold(&addresses, Instant::now()).unwrap();
        sleep_for_ever();
    }
    let handle = Handle::start(settings).unwrap();
    handle.set_usable(real_servers.to_vec());
    handle.hold(&addresses);
    sleep_for_ever()
}

fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn start_a_victim(node: &Node, alone: bool) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(VICTIM, node.state_file()).stdin(Stdio::null());
    if alone {
        command.env(ALONE, "1");
    }
    let victim = node.namespace.spawn(command).unwrap();
    wait_for("its services", || (services(node) == SERVICES_OF_THE_VICTIM).then_some(()));
    victim
}

fn services(node: &Node) -> usize {
    node.ipvsadm().iter().filter(|line| line.starts_with("TCP")).count()
}

/// Leaves its services behind.
fn kill_a_victim(node: &Node) {
    let mut victim = start_a_victim(node, true);
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(services(node), SERVICES_OF_THE_VICTIM, "the kernel keeps them");
}

/// Everything about the node that the victim changes.
fn looks(node: &Node) -> String {
    // Some of the parameters come with the module.
    node.run("modprobe", &["ip_vs"]);
    let parameters = [
        "net/ipv4/conf/eth0/arp_ignore",
        "net/ipv4/conf/eth0/arp_announce",
        "net/ipv4/vs/sloppy_tcp",
        "net/ipv4/vs/expire_nodest_conn",
        "net/ipv4/vs/expire_quiescent_template",
    ];
    let parameters = parameters.map(|name| format!("{name}={}", node.parameter(name))).join("\n");
    let services = node.ipvsadm().join("\n");
    let addresses = node.run("ip", &["-brief", "address"]);
    let on = |line: &&str| !line.starts_with("ip6tnl0") || line.contains("UNKNOWN");
    let addresses: Vec<&str> = addresses.lines().filter(on).collect();
    format!("{parameters}\n{services}\n{}", addresses.join("\n"))
}

fn cleanup() {
    let world = World::new();
    let node = &world.nodes[0];
    let before = looks(node);
    kill_a_victim(node);
    assert_ne!(looks(node), before);
    let file = node.state_file();
    let removed = node.namespace.run(|| remove_leftovers(&file).unwrap()).unwrap();
    for expected in [
        "the IPVS service 10.0.0.100:6443",
        "the IPVS service [fd00::100]:6443",
        "the link dummyvip0",
        "the value 1 of net.ipv4.conf.eth0.arp_ignore",
        "the tunnel by ip6tnl0",
    ] {
        assert!(removed.iter().any(|it| it == expected), "{expected}: {removed:?}");
    }
    assert_eq!(looks(node), before);
    assert!(!file.exists());
    assert!(node.namespace.run(|| remove_leftovers(&file).unwrap()).unwrap().is_empty());
}

fn next_start() {
    let world = World::new();
    let node = &world.nodes[0];
    let before = looks(node);
    kill_a_victim(node);
    // The next one has other settings, and was not told of the earlier ones.
    let handle = node.start(vec![round_robin(vip())], &world.real_servers());
    assert!(node.ipvsadm().is_empty(), "it does not hold the address");
    assert_eq!(node.parameter("net/ipv4/vs/sloppy_tcp"), "0");
    drop(handle);
    assert_eq!(looks(node), before);
}

/// The heir sends every third connection to the apiserver of the killed one, who must not send it
/// on, perhaps back to the heir.
fn killed_director() {
    let world = World::new();
    let [first, heir, third] = &world.nodes;
    let handle = heir.start(vec![round_robin(vip())], &world.real_servers());
    let _other = third.start(vec![round_robin(vip())], &world.real_servers());
    let mut victim = start_a_victim(first, false);
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("its services to go", || (services(first) == 0).then_some(()));
    heir.take(&handle, VIP);
    let servers = world.client.servers(9, vip());
    assert_eq!(count(&servers), [("node11", 3), ("node12", 3), ("node13", 3)]);
}

/// A frozen process cannot renew its virtual addresses, and they go after two seconds. Nor can it
/// remove its services.
fn frozen_director() {
    let world = World::new();
    let [first, ..] = &world.nodes;
    let mut victim = start_a_victim(first, false);
    let pid = Pid::from_child(&victim);
    // It lives longer than it may be silent.
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(services(first), SERVICES_OF_THE_VICTIM);
    kill_process(pid, Signal::STOP).unwrap();
    let frozen = Instant::now();
    wait_for("its services to go", || (services(first) == 0).then_some(()));
    assert!(frozen.elapsed() < Duration::from_secs(8), "{:?}", frozen.elapsed());
    kill_process(pid, Signal::CONT).unwrap();
    wait_for("them to return", || (services(first) == SERVICES_OF_THE_VICTIM).then_some(()));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("its services to go", || (services(first) == 0).then_some(()));
}

/// A service manager asks all processes of a service to end; the one that is left to clean up must
/// not be the first.
fn last_will_outlives_a_polite_end() {
    let world = World::new();
    let [first, ..] = &world.nodes;
    let mut victim = start_a_victim(first, false);
    let executor = executors(first)[0];
    kill_process(executor, Signal::TERM).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(executors(first), [executor]);
    // It holds nothing but its two sockets.
    let held = fs::read_dir(format!("/proc/{}/fd", executor.as_raw_nonzero())).unwrap().count();
    assert_eq!(held, 2);
    // Killed all the same, it is started anew.
    kill_process(executor, Signal::KILL).unwrap();
    wait_for("another one", || {
        let now = executors(first);
        (now.len() == 1 && now[0] != executor).then_some(())
    });
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("its services to go", || (services(first) == 0).then_some(()));
    wait_for("all processes to go", || executors(first).is_empty().then_some(()));
}

/// The processes that are left to clean up on a node: others belong to other tests.
fn executors(node: &Node) -> Vec<Pid> {
    let its_own =
        node.namespace.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
    let lives_here =
        |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|its| its == its_own);
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|pid| {
            let stat = name(pid);
            stat.contains("(cplb-last-will)") && !stat.contains(") Z ") && lives_here(pid)
        })
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

fn orderly_end() {
    let world = World::new();
    let node = &world.nodes[0];
    let before = looks(node);
    let handle = node.start(servers_of_the_victim(), &world.all_real_servers());
    hold(&handle, &[vip().ip(), vip6().ip()]);
    assert_eq!(node.ipvsadm().len(), 8);
    drop(handle);
    assert_eq!(looks(node), before);
    assert_eq!(fs::read_dir(node.state_file().parent().unwrap()).unwrap().count(), 0);
}
