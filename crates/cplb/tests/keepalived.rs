//! `type: Keepalived`: the daemon with a real keepalived beside it keeps the promises it makes with
//! its own VRRP, as far as keepalived can. In network namespaces; needs root and keepalived.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::Duration;

use common::{CPLB, Cluster, DOCUMENT, LONG, VIP, certificates, on, plan, text, try_on, world};
use kernel::address::VirtualAddress;
use lab::world::{Host, Plan, State, VrrpEngine};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// What is gone from a node whose process has died.
const GONE: Duration = Duration::from_secs(3);

/// keepalived's down interval at 1 s and priority 200 (RFC 3768 6.1: 3 x 1 s + 56/256 s).
const DOWN: Duration = Duration::from_millis(3_220);

/// The watchdog's patience.
const SILENCE: Duration = Duration::from_millis(1_500);

fn keepalived() -> Plan {
    let mut plan = plan();
    plan.vrrp = VrrpEngine::Keepalived;
    plan
}

/// As [`Cluster::start`].
fn start(plan: Plan) -> Cluster {
    let mut cluster = Cluster::build(plan);
    cluster.world.start_all().unwrap();
    cluster.settle();
    cluster
}

/// Three apiservers, and one controller that holds the virtual IP.
fn start_alone(document: &str) -> Cluster {
    let mut plan = keepalived();
    plan.document = document.to_owned();
    let mut cluster = Cluster::build(plan);
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the only controller is ready and Active", |cluster| {
        let Some(status) = cluster.status_of(0) else { return false };
        status["ready"] == true && states(&status).iter().all(|state| state == "Active")
    });
    cluster
}

fn states(status: &Value) -> Vec<String> {
    let routers = status["virtual_routers"].as_array().unwrap();
    routers.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

/// A process that a file of the run directory names.
fn pid(cluster: &Cluster, node: usize, file: &str) -> Pid {
    let path = cluster.world.node(node).run_dir.join(file);
    Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap()).unwrap()
}

/// The watchdog of a node, by its command line.
fn watchdog(cluster: &Cluster, node: usize) -> Option<Pid> {
    let run_dir = cluster.world.node(node).run_dir.display().to_string();
    let line = format!("cplb\0keepalived-watchdog\0{run_dir}\0");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = processes
        .filter(|path| fs::read(path.join("cmdline")).is_ok_and(|it| it == line.as_bytes()))
        .collect();
    assert!(found.len() <= 1, "one watchdog at most: {found:?}");
    Pid::from_raw(found.first()?.file_name()?.to_str()?.parse().ok()?)
}

fn wait_for_another_holder(cluster: &Cluster, than: usize) -> usize {
    cluster.eventually("another one holds alone", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1 && holders != [than]
    });
    cluster.holder()
}

#[test]
fn the_status_is_that_of_any_engine_and_names_keepalived() {
    let mut cluster = start(keepalived());
    let holder = cluster.holder();
    let status = cluster.status_of(holder).unwrap();
    let router = &status["virtual_routers"][0];
    assert_eq!(status["virtual_routers"].as_array().unwrap().len(), 1);
    assert_eq!(
        json!([
            router["name"],
            router["interface"],
            router["virtual_router_id"],
            router["version"],
            router["source"],
            router["virtual_ips"],
            router["state"],
            router["priority"],
            router["configured_priority"],
        ]),
        json!([
            "cplb-vip-0",
            "eth0",
            51,
            2,
            cluster.address(holder).to_string(),
            ["10.0.0.100/24"],
            "Active",
            200,
            200
        ])
    );
    let version = std::process::Command::new("keepalived").arg("--version").output().unwrap();
    let of_program = text(&version.stderr);
    let keepalived = &status["keepalived"];
    let version = format!("Keepalived v{} ", keepalived["version"].as_str().unwrap());
    assert!(of_program.starts_with(&version), "{of_program}");
    let process = pid(&cluster, holder, "keepalived.pid").as_raw_nonzero().get();
    assert_eq!((&keepalived["pid"], &keepalived["restarts"]), (&json!(process), &json!(0)));
    let shown = cluster.status_text_of(holder);
    assert!(shown.contains("10.0.0.100/24 is HERE since"), "{shown}");
    assert!(shown.contains("VRRP by keepalived 2."), "{shown}");
    for node in (0..3).filter(|node| *node != holder) {
        assert_eq!(states(&cluster.status_of(node).unwrap()), ["Backup"]);
    }

    // k0s' checks: no dummy link, the address once with its prefix length, all three apiservers.
    for node in 0..3 {
        let host = cluster.world.node(node).host();
        assert!(!try_on(host, "ip link show dev dummyvip0").status.success());
        let addresses = on(host, "ip -o address show dev eth0 scope global");
        assert_eq!(addresses.contains(&format!(" {VIP}/24 ")), node == holder, "{addresses}");
    }
    let shown = certificates(cluster.world.client(), &format!("{VIP}:6443"), 15);
    assert_eq!(shown.len(), 3, "{shown:?}");

    // Killed, it comes back; whoever holds then holds alone.
    let begin = cluster.now();
    kill_process(pid(&cluster, holder, "keepalived.pid"), Signal::KILL).unwrap();
    cluster.tell("the holder's keepalived killed");
    cluster.eventually("keepalived is started again", |cluster| {
        let status = cluster.status_of(holder).unwrap();
        status["keepalived"]["restarts"] == 1 && !status["keepalived"]["pid"].is_null()
    });
    cluster.pass(2 * DOWN);
    cluster.holder();
    // Two equal heirs may tie until they hear each other; the old holder is none of them.
    let released = cluster.holdings().released_after(holder, begin).unwrap();
    assert!(released <= SECOND, "{released:?}");
    assert_eq!(cluster.doubly_held_since(begin + DOWN + SECOND), Duration::ZERO);
    cluster.world.node_mut(holder).controller.stop().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    assert_eq!(watchdog(&cluster, holder), None);
    let left = fs::read_dir(&cluster.world.node(holder).run_dir).unwrap();
    let left: Vec<String> =
        left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.contains("keepalived")), "{left:?}");
}

#[test]
fn leaving_is_make_before_break_and_coming_takes_nothing_away() {
    let mut cluster = start(keepalived());
    let holder = cluster.holder();
    cluster.ask();
    cluster.pass(SECOND);

    let begin = cluster.now();
    cluster.world.node_mut(holder).controller.stop().unwrap();
    cluster.tell("the holder told to stop");
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    assert_eq!(cluster.world.node_mut(holder).controller.state(), State::Ended { code: Some(0) });
    cluster.pass(SECOND);
    let figures = cluster.figures_since(begin);
    let heir = cluster.holder();
    assert_ne!(heir, holder);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    // 50 ms on a quiet machine; a tie of two heirs costs a second at most.
    assert!(figures.longest_silence <= SECOND + SECOND / 4, "{figures:?}");
    assert_eq!((cluster.tables(holder), cluster.addresses(holder)), (String::new(), 0));

    let begin = cluster.now();
    cluster.world.node_mut(holder).controller.start().unwrap();
    cluster.tell("started again");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "a restarted node takes nothing away");
    assert_eq!(cluster.moves_since(begin), 0);
}

#[test]
fn a_killed_daemon_leaves_no_second_holder_and_starts_clean() {
    let mut cluster = start(keepalived());
    let killed = cluster.holder();
    let begin = cluster.now();
    let speaker = pid(&cluster, killed, "keepalived-vrrp.pid");
    cluster.world.node_mut(killed).controller.kill().unwrap();
    assert!(cluster.world.node_mut(killed).controller.wait(LONG));
    cluster.tell("the holder's daemon killed");
    let heir = wait_for_another_holder(&cluster, killed);
    cluster.pass(2 * SECOND);
    let released = cluster.holdings().released_after(killed, begin).unwrap();
    cluster.tell(&format!("the dead one's address was gone after {released:.1?}"));
    assert!(released <= GONE, "{released:?}");
    assert_eq!(cluster.doubly_held_since(begin + GONE + DOWN), Duration::ZERO);
    // Empty for one that has ended and was not yet waited for.
    let program = fs::read(format!("/proc/{}/cmdline", speaker.as_raw_nonzero()));
    assert_eq!(program.unwrap_or_default(), b"", "its keepalived has ended");
    assert_eq!(watchdog(&cluster, killed), None, "it ends with the daemon");

    let begin = cluster.now();
    cluster.world.node_mut(killed).controller.start().unwrap();
    cluster.tell("started again");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "a restarted node takes nothing away");
    assert_eq!(cluster.moves_since(begin), 0);
}

#[test]
fn a_frozen_daemon_yields_and_takes_nothing_back() {
    let mut cluster = start(keepalived());
    let frozen = cluster.holder();
    let old = watchdog(&cluster, frozen).expect("a watchdog beside keepalived");
    kill_process(old, Signal::KILL).unwrap();
    cluster.eventually("a killed watchdog is replaced", |cluster| {
        watchdog(cluster, frozen).is_some_and(|new| new != old)
    });

    let begin = cluster.now();
    cluster.world.node_mut(frozen).controller.freeze().unwrap();
    cluster.tell("the holder's daemon frozen");
    let heir = wait_for_another_holder(&cluster, frozen);
    let released = cluster.holdings().released_after(frozen, begin).unwrap();
    cluster.tell(&format!("the frozen one's address was gone after {released:.1?}"));
    // The last advertisement of the full priority may go out just before the watchdog speaks; after
    // it the heirs wait for their down interval.
    assert!(released <= SILENCE + DOWN + SECOND / 2, "{released:?}");
    cluster.pass(SECOND);

    let begin = cluster.now();
    cluster.world.node_mut(frozen).controller.thaw().unwrap();
    cluster.tell("thawed");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "a thawed node takes nothing back");
    assert_eq!(cluster.moves_since(begin), 0);
    let status = cluster.status_of(frozen).unwrap();
    assert_eq!(status["virtual_routers"][0]["priority"], 200, "its own word stands again");
    let log = cluster.log_of(frozen);
    assert!(log.contains("its watchdog told keepalived that this node is not ready"), "{log}");

    // Nobody else is ready, so nothing moves.
    for node in (0..3).filter(|node| *node != heir) {
        cluster.world.node_mut(node).controller.freeze().unwrap();
    }
    cluster.pass(3 * SECOND);
    let begin = cluster.now();
    cluster.world.node_mut(heir).controller.freeze().unwrap();
    cluster.tell("all daemons frozen");
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir]);
    assert_eq!(cluster.moves_since(begin), 0);
    for node in 0..3 {
        cluster.world.node_mut(node).controller.thaw().unwrap();
    }
    cluster.settle();
    assert_eq!(cluster.holders(), [heir]);
}

#[test]
fn the_address_follows_the_ability_to_serve() {
    let mut cluster = start(keepalived());
    cluster.ask();
    let holder = cluster.holder();
    let begin = cluster.now();
    for line in [
        "nft add table inet block",
        "nft add chain inet block out { type filter hook output priority 0 ; }",
        "nft add rule inet block out tcp dport 6443 drop",
    ] {
        on(cluster.world.node(holder).host(), line);
    }
    cluster.tell("the holder reaches no apiserver");
    let heir = wait_for_another_holder(&cluster, holder);
    let status = cluster.status_of(holder).unwrap();
    assert_eq!(
        (&status["ready"], &status["virtual_routers"][0]["priority"]),
        (&json!(false), &json!(100))
    );
    on(cluster.world.node(holder).host(), "nft delete table inet block");
    cluster.tell("it reaches them again");
    cluster.settle();
    cluster.pass(2 * DOWN);
    assert_eq!(cluster.holders(), [heir], "able again is no reason to take it back");
    cluster.figures_since(begin);
}

const SECOND_INSTANCE: &str =
    "        - {virtualIPs: [10.0.0.110/24], virtualRouterID: 52, authPass: BuyK0s}\n";

/// Puts a document in place of the old one and sends SIGHUP; what is logged because of it.
fn reload(cluster: &mut Cluster, document: &str) -> String {
    fs::write(cluster.world.directory().join("config.yaml"), document).unwrap();
    let before = cluster.log_of(0).len();
    cluster.world.node_mut(0).controller.send(Signal::HUP).unwrap();
    let logged = |cluster: &Cluster| cluster.log_of(0)[before..].to_owned();
    cluster.eventually("the reload has ended", |cluster| {
        let logged = logged(cluster);
        logged.contains("configuration applied") || logged.contains("SIGHUP: ")
    });
    logged(cluster)
}

#[test]
fn a_reload_changes_what_differs_and_a_faulty_template_nothing() {
    let mut cluster = start_alone(DOCUMENT);
    let begin = cluster.now();
    let process = pid(&cluster, 0, "keepalived-vrrp.pid");
    let both = format!("{DOCUMENT}{SECOND_INSTANCE}");
    let log = reload(&mut cluster, &both);
    assert!(log.contains(r#"added=["cplb-vip-1"] updated=[] removed=[]"#), "{log}");
    cluster.eventually("the second virtual IP is here", |cluster| {
        on(cluster.world.node(0).host(), "ip -o address").contains(" 10.0.0.110/24 ")
    });
    assert_eq!(states(&cluster.status_of(0).unwrap()), ["Active", "Active"]);

    let template = cluster.world.directory().join("vrrp.conf");
    let with_template = both.replace(
        "        vrrpInstances:",
        &format!("        configTemplateVRRP: {}\n        vrrpInstances:", template.display()),
    );
    let configuration = cluster.world.node(0).run_dir.join("keepalived.conf");
    let before = fs::read_to_string(&configuration).unwrap();
    for (faulty, told) in [
        (
            "{{ range .VRRPInstances }}\n  {{ .Nmae }}\n{{ end }}",
            format!("{}:2:3: ", template.display()),
        ),
        (
            &*keepalived::VRRP_TEMPLATE.replace("    state BACKUP", "    nonsense"),
            "`nonsense`: Unknown keyword 'nonsense'".to_owned(),
        ),
    ] {
        fs::write(&template, faulty).unwrap();
        let log = reload(&mut cluster, &with_template);
        assert!(log.contains("SIGHUP: ") && log.contains(&told), "{told} in {log}");
        assert!(!log.contains("BuyK0s"), "{log}");
        assert_eq!(fs::read_to_string(&configuration).unwrap(), before);
    }
    fs::write(&template, format!("# of the test\n{}", keepalived::VRRP_TEMPLATE)).unwrap();
    let log = reload(&mut cluster, &with_template);
    assert!(log.contains("configuration applied"), "{log}");
    assert!(fs::read_to_string(&configuration).unwrap().contains("\n# of the test\n"));

    let log = reload(&mut cluster, DOCUMENT);
    assert!(log.contains(r#"removed=["cplb-vip-1"]"#), "{log}");
    cluster.eventually("the second virtual IP is gone", |cluster| {
        !on(cluster.world.node(0).host(), "ip -o address").contains(" 10.0.0.110/24 ")
    });
    cluster.pass(SECOND);
    assert_eq!(cluster.moves_since(begin), 0, "the first one did not notice");
    assert_eq!(pid(&cluster, 0, "keepalived-vrrp.pid"), process);
    let log = reload(&mut cluster, &DOCUMENT.replace("Builtin", "Keepalived"));
    assert!(log.contains("added=[] updated=[] removed=[]"), "{log}");
}

/// The three ways of k0s' own tests.
#[test]
fn however_the_interface_is_named_keepalived_gets_its_name() {
    for way in ["default route", "name", "hardware address"] {
        let mut plan = keepalived();
        plan.nodes.truncate(1);
        let mut cluster = Cluster::build(plan);
        let link = on(cluster.world.node(0).host(), "ip -o link show dev eth0");
        let mac = link.split_once("link/ether ").unwrap().1.split(' ').next().unwrap();
        let interface = match way {
            "default route" => "",
            "name" => "eth0",
            _ => mac,
        };
        let document = DOCUMENT.replace(
            "        - virtualIPs",
            &format!("        - interface: \"{interface}\"\n          virtualIPs"),
        );
        fs::write(cluster.world.directory().join("config.yaml"), document).unwrap();
        cluster.world.start_all().unwrap();
        cluster.settle();
        let path = cluster.world.node(0).run_dir.join("keepalived.conf");
        let configuration = fs::read_to_string(&path).unwrap();
        assert!(configuration.contains("\n    interface eth0\n"), "{configuration}");
        assert!(!configuration.contains(mac), "{configuration}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    }
}

#[test]
fn without_a_load_balancer_it_moves_addresses_alone() {
    let document = DOCUMENT.replace(
        "        vrrpInstances:",
        "        disableLoadBalancer: true\n        vrrpInstances:",
    );
    let cluster = start_alone(&document);
    assert_eq!(cluster.holders(), [0]);
    assert_eq!(cluster.tables(0), "");
    let status = cluster.status_of(0).unwrap();
    assert!(status["load_balancer"].is_null(), "{status}");
    assert!(watchdog(&cluster, 0).is_some());
    cluster.pass(2 * SECOND);
    assert_eq!(cluster.status_of(0).unwrap()["virtual_routers"][0]["priority"], 200);
}

/// The virtual IPs of a document, one of each family or of one.
fn virtual_ips(addresses: &[&str]) -> Plan {
    let document = DOCUMENT.replace(
        r#"["10.0.0.100/24"]"#,
        &format!(
            "[{}]",
            addresses.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ")
        ),
    );
    let virtual_ips: Vec<VirtualAddress> = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let mut plan = Plan::new(CPLB.as_ref(), &document, &virtual_ips, 3).unwrap();
    plan.vrrp = VrrpEngine::Keepalived;
    plan
}

/// Who holds which address, once everything that runs is well.
fn holders(cluster: &Cluster, address: &str) -> Vec<usize> {
    cluster.world.holders(address.parse().unwrap()).unwrap()
}

fn moves_together(addresses: &[&str]) {
    let bare: Vec<&str> = addresses.iter().map(|it| it.split('/').next().unwrap()).collect();
    let mut cluster = Cluster::build(virtual_ips(addresses));
    cluster.world.start_all().unwrap();
    let together = |cluster: &Cluster| {
        let first = holders(cluster, bare[0]);
        let all_ready = (0..3).all(|node| {
            let state = cluster.world.node(node).run_dir.join("admin.sock");
            !state.exists() || cluster.status_of(node).is_none_or(|it| it["ready"] == true)
        });
        first.len() == 1 && bare.iter().all(|it| holders(cluster, it) == first) && all_ready
    };
    cluster.eventually("one node holds all and all are ready", together);
    let holder = holders(&cluster, bare[0])[0];
    assert!(states(&cluster.status_of(holder).unwrap()).iter().all(|state| state == "Active"));
    for address in &bare {
        let target = match address.contains(':') {
            true => format!("[{address}]:6443"),
            false => format!("{address}:6443"),
        };
        let shown = certificates(cluster.world.client(), &target, 9);
        assert_eq!(shown.len(), 3, "{target}: {shown:?}");
    }
    cluster.world.node_mut(holder).controller.stop().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    cluster.eventually("another node holds all", |cluster| {
        together(cluster) && holders(cluster, bare[0]) != [holder]
    });
    let left = on(cluster.world.node(holder).host(), "ip -o address");
    assert!(bare.iter().all(|it| !left.contains(&format!(" {it}/"))), "{left}");
}

#[test]
fn an_ipv6_address_moves() {
    moves_together(&["fd00:10::100/64"]);
}

#[test]
fn addresses_of_both_families_move_together() {
    moves_together(&["10.0.0.100/24", "fd00:10::100/64"]);
}

/// The distribution's, with its own files and another virtual router; ends with this.
struct Stranger(Child);

impl Stranger {
    fn start(host: &Host, directory: &std::path::Path) -> Self {
        let file = |name: &str| directory.join(format!("stranger.{name}"));
        let configuration = "vrrp_instance of_the_distribution {
    interface eth0
    virtual_router_id 77
    priority 100
    advert_int 1
    virtual_ipaddress {
        10.0.0.177/24
    }
}
";
        fs::write(file("conf"), configuration).unwrap();
        let command = host
            .command("keepalived")
            .args(["--dont-fork", "--no-syslog", "--vrrp", "--use-file"])
            .arg(file("conf"))
            .arg("--pid")
            .arg(file("pid"))
            .arg("--vrrp_pid")
            .arg(file("vrrp.pid"));
        Self(command.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // In good order, so that its child ends too.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn another_keepalived_on_the_host_is_left_alone() {
    let mut cluster = Cluster::build(keepalived());
    let directory = cluster.world.directory().to_owned();
    let mut stranger = Stranger::start(cluster.world.node(0).host(), &directory);
    let its_address = |cluster: &Cluster| {
        on(cluster.world.node(0).host(), "ip -o address").contains(" 10.0.0.177/24 ")
    };
    cluster.eventually("the other one holds its address", its_address);
    cluster.world.start_all().unwrap();
    cluster.settle();
    assert!(its_address(&cluster));
    cluster.world.node_mut(0).controller.kill().unwrap();
    assert!(cluster.world.node_mut(0).controller.wait(LONG));
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.settle();
    cluster.world.node_mut(0).controller.stop().unwrap();
    assert!(cluster.world.node_mut(0).controller.wait(LONG));
    assert!(its_address(&cluster));
    assert!(stranger.0.try_wait().unwrap().is_none(), "it runs");
}

const EX_UNAVAILABLE: i32 = 69;
const EX_CONFIG: i32 = 78;

/// A start of the daemon that must be refused with this exit code; what it wrote to standard error.
/// `before` is done in a mount namespace of its own.
fn refused(before: &str, options: &str, code: i32) -> String {
    let mut plan = plan();
    plan.nodes.truncate(1);
    plan.document = DOCUMENT.replace("Builtin", "Keepalived");
    let world = world(plan);
    let node = world.node(0);
    let script = format!(
        "{before} exec {CPLB} --log-level error controller --config {} --run-dir {} --state-dir {} \
         --apiserver 10.0.0.11:6443 {options}",
        world.directory().join("config.yaml").display(),
        node.run_dir.display(),
        node.run_dir.with_file_name("state").display(),
    );
    let command = node.host().command("unshare").args(["--mount", "sh", "-c"]).arg(script);
    let output = command.output(LONG).unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(on(node.host(), "nft list tables"), "");
    assert_eq!(common::virtual_addresses_on(node.host()), 0);
    message
}

#[test]
fn a_keepalived_that_cannot_be_had_is_an_error_with_both_ways_out() {
    let hidden = "keepalived=$(command -v keepalived); mount --bind /dev/null $keepalived;";
    assert_eq!(
        refused(hidden, "", EX_UNAVAILABLE),
        "cplb: no keepalived on PATH: install it (apt install keepalived, dnf install keepalived), \
         or use `type: Builtin` (--vrrp builtin), which is the same on the wire and needs nothing \
         installed\n"
    );
    assert_eq!(
        refused("", "--keepalived-bin /nowhere/keepalived", EX_CONFIG),
        "cplb: cannot start /nowhere/keepalived: No such file or directory (os error 2); give \
         keepalived's program, or use `type: Builtin` (--vrrp builtin), which needs nothing installed\n"
    );
    let message = refused("", "--keepalived-bin /bin/true", EX_CONFIG);
    assert!(
        message.starts_with("cplb: /bin/true is not keepalived: `--version` says \"true (GNU"),
        "{message}"
    );
}
