//! What the commands print and how they end. The status is that of a cluster in network namespaces,
//! which needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::process::{Command, Output};

use common::{CPLB, Cluster, controller, on, plan, text};
use serde_json::json;

const EX_DATAERR: i32 = 65;
const EX_UNAVAILABLE: i32 = 69;

fn cplb(arguments: &[&str]) -> Output {
    Command::new(CPLB).args(arguments).output().unwrap()
}

/// Exit code, standard output and standard error.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn example(name: &str) -> String {
    format!("{}/../../examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn validate_accepts_the_examples() {
    let proxied = "valid, virtual IP 10.0.0.100/24, port 6443 balanced by the proxy on 6444";
    let misplaced = |path: &str| {
        format!(
            "{path}:22:9: warning: network stands directly under config; it is read as spec.network
  22 |         network:
     |         ^
  hint: put \"spec:\" above network and indent it: k0s itself ignores it here
"
        )
    };
    for (name, says, warning) in [
        ("k0sctl-cplb.yaml", proxied, false),
        (
            "k0sctl-cplb-nllb.yaml",
            "valid, virtual IP 10.0.0.100/24, port 6443 balanced by the proxy on 6444; \
             node-local load balancing by EnvoyProxy",
            true,
        ),
        ("k0s-userspace.yaml", proxied, false),
        ("k0s-ipvs.yaml", "valid, virtual IP 10.0.0.100/24, port 6443 balanced by IPVS", false),
    ] {
        let path = example(name);
        let warned = if warning { misplaced(&path) } else { String::new() };
        assert_eq!(
            outcome(&cplb(&["validate", "--config", &path])),
            (Some(0), format!("{path}: {says}\n"), warned)
        );
    }
}

#[test]
fn validate_shows_all_errors_at_once_and_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.yaml").display().to_string();
    let broken = r#"spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - virtualIPs: ["10.0.0.100"]
          authPas: BuyK0s
        - virtualIPs: ["10.0.0.300/24"]
          authPass: MuchTooLong
"#;
    fs::write(&path, broken).unwrap();
    let findings = format!(
        r#"{path}:7:11: error: vrrpInstances[0] has no authPass
  7 |         - virtualIPs: ["10.0.0.100"]
    |           ^
  hint: give it 1 to 8 characters, the same on every controller
{path}:7:24: error: virtualIPs[0] "10.0.0.100" has no prefix length
  7 |         - virtualIPs: ["10.0.0.100"]
    |                        ^
  hint: write 10.0.0.100/24, with the prefix length of the network
{path}:8:11: error: unknown field "authPas" in vrrpInstances[0]
  8 |           authPas: ******
    |           ^
  hint: did you mean authPass?
{path}:9:24: error: virtualIPs[0] "10.0.0.300/24" is no address with a prefix length
  9 |         - virtualIPs: ["10.0.0.300/24"]
    |                        ^
  hint: write it as in 10.0.0.100/24 or fd00::100/64
{path}:10:21: error: authPass has 11 bytes, 8 at most
  10 |           authPass: ***********
     |                     ^
  hint: VRRP sends 8 bytes: shorten it on every controller
"#
    );
    assert_eq!(
        outcome(&cplb(&["validate", "--config", &path])),
        (Some(1), format!("{path}: not usable\n"), findings)
    );
}

#[test]
fn status_without_a_daemon() {
    for format in ["text", "json"] {
        assert_eq!(
            outcome(&cplb(&["status", "--run-dir", "/nonexistent", "-o", format])),
            (
                Some(EX_UNAVAILABLE),
                String::new(),
                "cplb: no cplb answers at /nonexistent/admin.sock: No such file or directory \
                 (os error 2); is it running, and is this its --run-dir?\n"
                    .to_owned()
            )
        );
    }
}

#[test]
fn status_of_a_cluster() {
    let mut cluster = Cluster::build(plan());
    // The first to start holds the virtual IP.
    let kubeconfig = cluster.world.node(0).run_dir.with_file_name("admin.conf");
    let options = ["--kubeconfig", kubeconfig.to_str().unwrap(), "--admin-listen", "0.0.0.0:9009"];
    let launch = controller(&cluster.world, 0, &options);
    cluster.world.node_mut(0).controller.replace(launch);
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the first one holds", |cluster| cluster.holders() == [0]);
    cluster.world.start_all().unwrap();
    cluster.settle();

    let here = cluster.status_text_of(0);
    println!("{here}");
    for line in [
        "10.0.0.100/24 is HERE since ",
        "  cplb-vip-0: VRRPv2 router 51 on eth0 as 10.0.0.11, priority 200; ",
        "Load balancer on [::]:6444: 0 open, 0 accepted",
        "  redirects 10.0.0.100:6443 to 6444",
        "  APISERVER                HEALTH        SINCE   LATENCY   OPEN  CONNECTS         P50/P99   FAILED",
        "  10.0.0.11:6443           healthy ",
        "  10.0.0.12:6443           healthy ",
        "  10.0.0.13:6443           healthy ",
        "  list from the cluster's EndpointSlices through 127.0.0.1:6443",
    ] {
        assert!(here.lines().any(|found| found.starts_with(line)), "{line:?} in {here}");
    }
    let there = cluster.status_text_of(1);
    println!("{there}");
    for line in [
        "10.0.0.100/24 is at 10.0.0.11; this node is Backup since ",
        "  cplb-vip-0: VRRPv2 router 51 on eth0 as 10.0.0.12, priority 200; 0 sent, ",
        "  heard 10.0.0.11 with priority 200 ",
    ] {
        assert!(there.lines().any(|found| found.starts_with(line)), "{line:?} in {there}");
    }

    let status = cluster.status_of(0).unwrap();
    let router = &status["virtual_routers"][0];
    let balancer = &status["load_balancer"];
    let first = &balancer["apiservers"][0];
    for (found, expected) in [
        (&status["ready"], json!(true)),
        (&status["leaving"], json!(false)),
        (&router["state"], json!("Active")),
        (&router["holder"], json!("10.0.0.11")),
        (&router["virtual_ips"], json!(["10.0.0.100/24"])),
        (&router["transitions"][0]["reason"], json!("started, listening first")),
        (&router["transitions"][1]["to"], json!("Active")),
        (&balancer["listen"], json!(["[::]:6444"])),
        (&balancer["redirects"], json!(["10.0.0.100:6443 to 6444"])),
        (&first["address"], json!("10.0.0.11:6443")),
        (&first["health"], json!("healthy")),
        (&first["usable"], json!(true)),
        (&first["reason"], json!("200 ok")),
        (
            &balancer["discovery"]["origin"],
            json!({ "endpoints": { "via": "127.0.0.1:6443", "resource": "slices" } }),
        ),
    ] {
        assert_eq!(*found, expected, "in {status:#}");
    }

    let curl = |options: &str, path: &str| {
        on(cluster.world.client(), &format!("curl --silent {options} http://10.0.0.11:9009{path}"))
    };
    assert_eq!(curl("", "/livez"), "ok");
    assert_eq!(curl("", "/readyz"), "ok");
    assert!(curl("", "/status.txt").contains("10.0.0.100/24 is HERE since "));
    assert_eq!(curl("--request POST", "/status"), "only GET is answered\n");
    assert_eq!(
        curl("", "/stats"),
        "there are /, /livez, /readyz, /metrics, /status and /status.txt\n"
    );

    let metrics = curl("--include", "/metrics");
    println!("{metrics}");
    let type_line = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(metrics.contains(type_line), "{metrics}");
    for line in [
        "cplb_ready 1",
        "cplb_leaving 0",
        r#"cplb_vrrp_router_info{router="cplb-vip-0",family="ipv4",interface="eth0",virtual_router_id="51",version="2",source="10.0.0.11"} 1"#,
        r#"cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="initialize"} 0"#,
        r#"cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="backup"} 0"#,
        r#"cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="active"} 1"#,
        r#"cplb_vrrp_became_active_total{router="cplb-vip-0",family="ipv4"} 1"#,
        r#"cplb_vrrp_priority{router="cplb-vip-0",family="ipv4"} 200"#,
        r#"cplb_vrrp_foreign_routers{router="cplb-vip-0",family="ipv4"} 0"#,
        r#"cplb_vip_held{router="cplb-vip-0",family="ipv4",address="10.0.0.100"} 1"#,
        r#"cplb_connections_accepted_total{listener="[::]:6444"} 0"#,
        "cplb_connections_open 0",
        r#"cplb_backend_healthy{backend="10.0.0.11:6443"} 1"#,
        r#"cplb_backend_healthy{backend="10.0.0.12:6443"} 1"#,
        r#"cplb_backend_healthy{backend="10.0.0.13:6443"} 1"#,
        "cplb_discovery_fail_open 0",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    // Nothing but comments and samples: a name, labels in braces, a number.
    let (_, body) = metrics.split_once("\r\n\r\n").unwrap();
    for sample in body.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = sample.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        assert!(series.starts_with("cplb_") || series == "process_start_time_seconds", "{sample}");
    }
    // A client that goes through the load balancer is counted.
    on(cluster.world.client(), "curl --silent --insecure https://10.0.0.100:6443/readyz");
    let accepted = r#"cplb_connections_accepted_total{listener="[::]:6444"} 1"#;
    cluster.eventually("the connection is counted", |_| curl("", "/metrics").contains(accepted));
    let backup = cluster.world.node(1).run_dir.join("admin.sock");
    let backup = format!("curl --silent --unix-socket {} http://cplb/metrics", backup.display());
    let backup = on(cluster.world.node(1).host(), &backup);
    let not_held = r#"cplb_vip_held{router="cplb-vip-0",family="ipv4",address="10.0.0.100"} 0"#;
    assert!(backup.lines().any(|line| line == not_held), "{backup}");

    let page = curl("--include", "/");
    for part in [
        "content-type: text/html; charset=utf-8\r\n",
        "content-security-policy: default-src 'none';",
        "10.0.0.100/24 is HERE since ",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn status_is_coloured_for_a_terminal_alone() {
    let mut cluster = Cluster::build(plan());
    cluster.world.node_mut(0).apiserver.start().unwrap();
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the only node holds", |cluster| cluster.holders() == [0]);
    assert!(!cluster.status_text_of(0).contains('\x1b'));
    let run_dir = cluster.world.node(0).run_dir.display().to_string();
    let on_a_terminal = |environment: &str| {
        let line = format!("{environment} {CPLB} status --run-dir {run_dir}");
        let script = Command::new("script").args(["-qec", &line, "/dev/null"]).output().unwrap();
        text(&script.stdout)
    };
    let coloured = on_a_terminal("NO_COLOR=");
    assert!(coloured.contains(" is \x1b[32mHERE\x1b[0m since "), "{coloured:?}");
    let plain = on_a_terminal("NO_COLOR=1");
    assert!(plain.contains(" is HERE since ") && !plain.contains('\x1b'), "{plain:?}");
}

#[test]
fn every_command_explains_itself() {
    let help = text(&cplb(&["--help"]).stdout);
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = commands.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty()).then_some(name)
    });
    let names: Vec<&str> = names.collect();
    for needed in ["controller", "proxy", "validate", "status", "cleanup", "lab"] {
        assert!(names.contains(&needed), "{needed} in {names:?}");
    }
    for name in names {
        let (code, out, errors) = outcome(&cplb(&["help", name]));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{name}");
        assert!(out.contains("Usage: cplb"), "{name}: {out}");
    }
    assert_eq!(cplb(&["controller"]).status.code(), Some(2));
}

#[test]
fn a_scenario_that_cannot_be_played() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("typing.txt").display().to_string();
    fs::write(&path, "phase a slip\nat 1s explode holder\n").unwrap();
    assert_eq!(
        outcome(&cplb(&["lab", "--scenario", &path])),
        (
            Some(EX_DATAERR),
            String::new(),
            format!(
                "cplb: {path}:2:7: `explode` is no action
  hint: a line begins with phase, at TIME, duration, expect, or one of start, stop, kill, freeze, thaw, cut, heal
"
            )
        )
    );
    assert_eq!(
        outcome(&cplb(&["lab", "--scenario", "nonexistent"])),
        (
            Some(EX_DATAERR),
            String::new(),
            "cplb: cannot read the scenario nonexistent: No such file or directory (os error 2); \
             name a file, or failover or smoke, which are built in\n"
                .to_owned()
        )
    );
}
