//! What stands against a start.

use crate::common::{CPLB, DOCUMENT, LONG, on, plan, text, virtual_addresses_on, world};

const EX_UNAVAILABLE: i32 = 69;
const EX_CONFIG: i32 = 78;

/// A start of the daemon that must be refused with this exit code; what it wrote to standard error.
/// `before` is done in a mount namespace of its own.
fn refused(before: &str, options: &str, code: i32) -> String {
    refused_with(&DOCUMENT.replace("Builtin", "Keepalived"), before, options, code)
}

fn refused_with(document: &str, before: &str, options: &str, code: i32) -> String {
    let mut plan = plan();
    plan.nodes.truncate(1);
    plan.document = document.to_owned();
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
    assert_eq!(virtual_addresses_on(node.host()), 0);
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

/// With its modules and its file in proc hidden, where the kernel has it. Builtin without IPVS is told
/// of in `vm/absent.rs`.
#[test]
fn virtual_servers_without_ipvs() {
    let hidden = "mount -t tmpfs none /lib/modules 2> /dev/null; mount -t tmpfs none /proc/$$/net;";
    let servers = "        virtualServers:\n        - ipAddress: 10.0.0.100\n";
    let document = format!("{}{servers}", DOCUMENT.replace("Builtin", "Keepalived"));
    assert_eq!(
        refused_with(&document, hidden, "", EX_UNAVAILABLE),
        "cplb: virtualServers need IPVS, which this kernel does not have: load the module ip_vs, or \
         take virtualServers out, and the built-in proxy balances\n"
    );
}
