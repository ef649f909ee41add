//! SIGHUP.

use std::fs;

use rustix::process::Signal;

use crate::common::{Cluster, DOCUMENT, on};
use crate::{SECOND, pid, start_alone, states};

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
