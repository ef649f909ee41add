//! How real kube-apiservers and their etcd are started.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use lab::world::{Daemon, HostPlan, Launch, World};

const ETCD_PORT: u16 = 2379;
pub(crate) const API_PORT: u16 = 6443;
/// By these the apiservers sign service account tokens and check them: all by the same.
const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
const SERVICE_ACCOUNT_CERTIFICATE: &str = "service-account.crt";
/// How long an apiserver goes on serving after SIGTERM.
pub(crate) const SHUTDOWN_DELAY: Duration = Duration::from_secs(5);

/// Makes every apiserver of the world a real one, with its data in the etcd at this address.
pub(crate) fn prepare_apiservers(program: &Path, world: &mut World, etcd: IpAddr) {
    let signer = world.authority().client("service-account", "none").unwrap();
    fs::write(world.directory().join(SERVICE_ACCOUNT_KEY), signer.key).unwrap();
    fs::write(world.directory().join(SERVICE_ACCOUNT_CERTIFICATE), signer.certificate).unwrap();
    for node in 0..world.nodes().len() {
        let launch = apiserver(program, world, node, etcd);
        world.node_mut(node).apiserver.replace(launch);
    }
}

/// An etcd on a host of its own with these addresses, which does not run yet.
pub(crate) fn etcd(world: &mut World, addresses: &[VirtualAddress]) -> Daemon {
    let directory = world.directory().to_owned();
    let plan = HostPlan { addresses: addresses.to_vec() };
    let host = world.add_host("etcd", &plan).unwrap();
    let url = format!("http://{}", SocketAddr::new(addresses[0].address, ETCD_PORT));
    // An IPv6 address can be listened on only a second after it was given.
    let any = match addresses[0].address {
        IpAddr::V4(_) => format!("http://0.0.0.0:{ETCD_PORT}"),
        IpAddr::V6(_) => format!("http://[::]:{ETCD_PORT}"),
    };
    let launch = Launch::new("etcd")
        .option("--data-dir", directory.join("etcd"))
        .option("--listen-client-urls", &any)
        .option("--advertise-client-urls", &url)
        .option("--listen-peer-urls", "http://127.0.0.1:2380")
        .option("--log-level", "warn")
        // Its data need not outlive it, and the disk shall not disturb what is measured.
        .argument("--unsafe-no-fsync");
    Daemon::new("etcd".to_owned(), launch, host, directory.join("etcd.log"))
}

/// Waits until the etcd at this address takes connections.
pub(crate) fn await_etcd(world: &World, address: IpAddr) {
    let address = SocketAddr::new(address, ETCD_PORT);
    let deadline = Instant::now() + Duration::from_secs(30);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1));
    while let Err(error) = world.client().namespace.run(connect).unwrap() {
        let log = || fs::read_to_string(world.directory().join("etcd.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "etcd does not listen: {error}\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn apiserver(program: &Path, world: &World, node: usize, etcd: IpAddr) -> Launch {
    let host = world.node(node).host();
    let common = |file: &str| world.directory().join(file).display().to_string();
    let own = |file: &str| common(&format!("{}/{file}", host.name));
    let (any, services) = match host.address() {
        // The service network whose first address is in the certificates.
        IpAddr::V4(_) => ("0.0.0.0", "10.96.0.0/16"),
        // Of the family of the advertised address, by demand of the apiserver.
        IpAddr::V6(_) => ("::", "fd00:10:96::/112"),
    };
    let settings = [
        ("advertise-address", host.address().to_string()),
        ("bind-address", any.to_owned()),
        ("secure-port", API_PORT.to_string()),
        ("etcd-servers", format!("http://{}", SocketAddr::new(etcd, ETCD_PORT))),
        ("tls-cert-file", own("apiserver.crt")),
        ("tls-private-key-file", own("apiserver.key")),
        ("client-ca-file", common("ca.crt")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("service-cluster-ip-range", services.to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
        ("service-account-key-file", common(SERVICE_ACCOUNT_CERTIFICATE)),
        ("service-account-signing-key-file", common(SERVICE_ACCOUNT_KEY)),
        ("shutdown-delay-duration", format!("{}s", SHUTDOWN_DELAY.as_secs())),
    ];
    // From 1.26 on each replica has a lease named after its host, which replicas must not share.
    let script = "hostname \"$1\" && shift && exec \"$@\"";
    Launch::new("unshare")
        .arguments(["--uts", "sh", "-c", script, "sh", &host.name])
        .argument(program)
        .arguments(settings.map(|(name, value)| format!("--{name}={value}")))
}
