//! What stands against a start: one clear message that says what to do, an exit code of sysexits.h,
//! and nothing left in the kernel. In network namespaces; needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{CPLB, DOCUMENT, LONG, VIP, on, plan, text, try_on, virtual_addresses_on, world};
use lab::pki;
use lab::world::World;

const EX_DATAERR: i32 = 65;
const EX_UNAVAILABLE: i32 = 69;
const EX_NOPERM: i32 = 77;
const EX_CONFIG: i32 = 78;

/// One controller node with nothing on it.
fn node() -> World {
    let mut plan = plan();
    plan.nodes.truncate(1);
    world(plan)
}

/// A start on the node, with files that can be exchanged for faulty ones.
struct Start {
    config: PathBuf,
    kubeconfig: PathBuf,
    run_dir: PathBuf,
}

impl Start {
    fn of(world: &World) -> Self {
        let run_dir = world.node(0).run_dir.clone();
        Self {
            config: world.directory().join("config.yaml"),
            kubeconfig: run_dir.with_file_name("admin.conf"),
            run_dir,
        }
    }

    fn with_config(world: &World, name: &str, document: &str) -> Self {
        let config = file(world, name, document);
        Self { config, ..Self::of(world) }
    }

    fn with_kubeconfig(world: &World, kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, ..Self::of(world) }
    }

    fn command(&self) -> String {
        format!(
            "{CPLB} --log-level error controller --config {} --kubeconfig {} --run-dir {} --state-dir {}",
            self.config.display(),
            self.kubeconfig.display(),
            self.run_dir.display(),
            self.run_dir.with_file_name("state").display(),
        )
    }
}

fn file(world: &World, name: &str, content: &str) -> PathBuf {
    let path = world.directory().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Runs a command line that must be refused with this exit code; what it wrote to standard error.
fn refused(world: &World, line: &str, code: i32) -> String {
    let output = try_on(world.node(0).host(), line);
    let message = text(&output.stderr);
    println!("{message}");
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(text(&output.stdout), "");
    message
}

/// As [`refused`], on a node where nothing runs.
fn refused_without_a_trace(world: &World, start: &Start, code: i32) -> String {
    let message = refused(world, &start.command(), code);
    let host = world.node(0).host();
    assert_eq!(on(host, "nft list tables"), "");
    assert_eq!(virtual_addresses_on(host), 0);
    message
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let world = node();
    let start = Start { config: world.directory().join("k0s.yaml"), ..Start::of(&world) };
    let path = start.config.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_DATAERR),
        format!("cplb: cannot read {path}: No such file or directory (os error 2)\n")
    );

    // The source lines are not shown, since they may hold the password.
    let broken = DOCUMENT.replace("BuyK0s", "MuchTooLong").replace("10.0.0.100/24", "10.0.0.100");
    let start = Start::with_config(&world, "broken.yaml", &broken);
    let path = start.config.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "{path}:8:24: error: virtualIPs[0] \"10.0.0.100\" has no prefix length
  hint: write 10.0.0.100/24, with the prefix length of the network
{path}:9:21: error: authPass has 11 bytes, 8 at most
  hint: VRRP sends 8 bytes: shorten it on every controller
cplb: {path}: not usable, see above; `cplb validate --config {path}` checks it without starting anything
"
        )
    );

    let start = Start::with_config(&world, "torn.yaml", "spec: [");
    let path = start.config.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "{path}:1:7: error: unclosed bracket '['
  hint: this is not YAML: look for indentation, quotes and brackets here and just above
cplb: {path}: not usable, see above; `cplb validate --config {path}` checks it without starting anything
"
        )
    );

    let off = DOCUMENT.replace("enabled: true", "enabled: false");
    let start = Start::with_config(&world, "off.yaml", &off);
    let path = start.config.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "cplb: {path}: controlPlaneLoadBalancing is not enabled, so there is nothing to do: \
             set enabled: true in spec.network.controlPlaneLoadBalancing\n"
        )
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_used() {
    let world = node();
    let start = Start::with_kubeconfig(&world, world.directory().join("missing.conf"));
    let path = start.kubeconfig.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "cplb: the kubeconfig {path} does not exist; start the cluster first \
             (`kubeadm init`, `k0s kubeconfig admin`), or name the right file by --kubeconfig\n"
        )
    );

    let garbage = file(&world, "garbage.conf", "\u{1}\u{2}:: no kubeconfig");
    let start = Start::with_kubeconfig(&world, garbage);
    let path = start.kubeconfig.display();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "cplb: the kubeconfig {path} cannot be used: failed to parse kubeconfig YAML: error: \
             line 1 column 1: unexpected character: `\\u{{1}}'; `kubectl --kubeconfig {path} config \
             view --minify` should show one cluster and one user\n"
        )
    );

    let start = Start::with_kubeconfig(&world, expired(&world));
    let path = world.directory().join("expired.crt");
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "cplb: the client certificate in {} expired at 2020-01-02T00:00:00Z; renew it where it \
             was issued (kubeadm: `kubeadm certs renew admin.conf`; k0s: `k0s kubeconfig admin`), \
             or name another file by --kubeconfig\n",
            path.display()
        )
    );
}

/// A kubeconfig whose client certificate was valid for a day in 2020.
fn expired(world: &World) -> PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let certificate = params.self_signed(&key).unwrap();
    let certificate = file(world, "expired.crt", &certificate.pem());
    let key = file(world, "expired.key", &key.serialize_pem());
    let authority = world.directory().join("ca.crt");
    let kubeconfig = pki::kubeconfig("https://127.0.0.1:6443", &authority, &certificate, &key);
    file(world, "expired.conf", &kubeconfig)
}

#[test]
fn a_port_or_an_interface_that_cannot_be_had() {
    let world = node();
    let listen = || TcpListener::bind("0.0.0.0:6444").unwrap();
    let listener = world.node(0).host().namespace.run(listen).unwrap();
    assert_eq!(
        refused_without_a_trace(&world, &Start::of(&world), EX_UNAVAILABLE),
        "cplb: [::]:6444 is in use: find its owner with `ss -ltnp 'sport = :6444'`, stop it, or \
         listen on another port\n"
    );
    drop(listener);

    let instance = "        - virtualIPs";
    let named = "        - interface: eht0\n          virtualIPs";
    let start = Start::with_config(&world, "misnamed.yaml", &DOCUMENT.replace(instance, named));
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        "cplb: there is no interface eht0 (did you mean eth0?); this host has lo, eth0\n"
    );

    on(world.node(0).host(), "ip route del default");
    assert_eq!(
        refused_without_a_trace(&world, &Start::of(&world), EX_CONFIG),
        "cplb: there is no default route to tell which interface to use: name the interface; \
         this host has lo, eth0\n"
    );
}

#[test]
fn a_virtual_ip_that_a_stranger_answers() {
    let world = node();
    on(world.client(), &format!("ip address add {VIP}/24 dev eth0"));
    let link = on(world.client(), "ip -o link show dev eth0");
    let mac = link.split_once("link/ether ").unwrap().1.split(' ').next().unwrap();
    // It listens for three seconds before it asks, and logs meanwhile that no apiserver answers.
    let message = refused_without_a_trace(&world, &Start::of(&world), EX_UNAVAILABLE);
    let message: Vec<&str> = message.lines().filter(|line| line.starts_with("cplb: ")).collect();
    assert_eq!(
        message,
        [format!(
            "cplb: {VIP} is already answered by {mac} on eth0, which does not take part in virtual \
             router 51: free the address or choose another one in virtualIPs; if that is a \
             controller of this cluster, its virtualRouterID and authPass must be the same as here"
        )]
    );
}

#[test]
fn a_user_without_permission() {
    let world = node();
    // Of its own, since nobody else may look into the world's.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::copy(CPLB, place("cplb")).unwrap();
    fs::write(place("config.yaml"), DOCUMENT).unwrap();
    let start = |run_dir: &Path| {
        format!(
            "setpriv --reuid 65534 --clear-groups {} --log-level error controller --config {} \
             --apiserver 10.0.0.12:6443 --run-dir {} --state-dir {}",
            place("cplb").display(),
            place("config.yaml").display(),
            run_dir.display(),
            place("state").display(),
        )
    };
    assert_eq!(
        refused(&world, &start(&place("run")), EX_NOPERM),
        "cplb: not permitted to list the nftables tables: run as root, or grant CAP_NET_ADMIN\n"
    );
    assert_eq!(
        refused(&world, &start(Path::new("/run/cplb-of-root")), EX_NOPERM),
        "cplb: cannot use the run directory /run/cplb-of-root: Permission denied (os error 13); \
         run as root or give another one by --run-dir\n"
    );
}

#[test]
fn a_second_daemon() {
    let mut world = node();
    world.start_all().unwrap();
    let deadline = std::time::Instant::now() + LONG;
    while virtual_addresses_on(world.node(0).host()) == 0 {
        assert!(std::time::Instant::now() < deadline, "the first one holds the virtual IP");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let start = Start::of(&world);
    let lock = fs::read_to_string(start.run_dir.join("lock")).unwrap();
    let pid = lock.trim();
    assert_eq!(
        refused(&world, &start.command(), EX_UNAVAILABLE),
        format!(
            "cplb: another cplb (pid {pid}) works in {}: stop it, or give this one its own --run-dir\n",
            start.run_dir.display()
        )
    );

    let another = world.directory().join("another/run");
    let start = Start { run_dir: another.clone(), ..start };
    let message = format!(
        "cplb: another cplb runs in this network namespace: it owns the nftables table cplb \
         (netlink port {pid}); stop it first, `pgrep -a cplb` finds it\n"
    );
    assert_eq!(refused(&world, &start.command(), EX_UNAVAILABLE), message);
    let cleanup = format!("{CPLB} cleanup --run-dir {}", another.display());
    assert_eq!(refused(&world, &cleanup, EX_UNAVAILABLE), message);

    let host = world.node(0).host();
    assert_eq!(on(host, "nft list tables"), "table inet cplb\n");
    assert_eq!(virtual_addresses_on(host), 1);
    let log = fs::read_to_string(world.node(0).controller.log()).unwrap();
    assert!(!log.contains("somebody removed"), "the first one was left in peace: {log}");
}

#[test]
fn ipvs_on_a_node_that_is_a_worker_as_well() {
    let world = node();
    let servers = "        virtualServers:\n        - ipAddress: 10.0.0.100\n";
    let start = Start::with_config(&world, "ipvs.yaml", &format!("{DOCUMENT}{servers}"));
    let worker = start.run_dir.join("worker");
    fs::create_dir_all(&worker).unwrap();
    let lock = fs::File::create(worker.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(
        refused_without_a_trace(&world, &start, EX_CONFIG),
        format!(
            "cplb: {}: virtualServers on a node that is a worker as well: a `cplb worker` runs here. \
             Take the section virtualServers out, and the proxy balances, or make this node a \
             controller alone\n",
            start.config.display()
        )
    );
}
