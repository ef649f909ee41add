//! What stands against a start with IPVS: one message, an exit code of sysexits.h, nothing changed.

use std::fs;
use std::process::Command;

use lab::world::{State, World};

use crate::absent::Hidden;
use crate::common::{LONG, controller, on, world};
use crate::nodes::{addresses, document, plan_of};

const EX_UNAVAILABLE: i32 = 69;
const EX_CONFIG: i32 = 78;

#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn what_ipvs_lacks_is_told_with_its_exit_code() {
    let mut world = world(plan_of(document(true)));
    let log = refused(&mut world, "          lbKind: NAT", EX_CONFIG);
    assert!(
        log.contains("10.0.0.100:6443 has lbKind NAT, and this machine forwards no packets: set net.ipv4.ip_forward=1, or choose DR"),
        "{log}"
    );

    // Other tests may have it loaded.
    let unloaded = Command::new("modprobe").args(["-r", "ip_vs_mh"]).status();
    assert!(unloaded.unwrap().success());
    let hidden = Hidden::new("ip_vs_mh");
    let log = refused(&mut world, "          lbAlgo: mh", EX_UNAVAILABLE);
    assert!(
        log.contains("this kernel lacks the IPVS scheduler mh: run `modprobe ip_vs_mh`"),
        "{log}"
    );
    drop(hidden);

    on(world.node(0).host(), "ip link add dummyvip0 type bridge");
    let log = refused(&mut world, "", EX_UNAVAILABLE);
    assert!(
        log.contains("the interface dummyvip0 is not a dummy link but of kind bridge: rename it or remove it with `ip link del dummyvip0`"),
        "{log}"
    );
}

/// Starts the daemon with more words about its virtual server; what it says last.
fn refused(world: &mut World, more: &str, code: i32) -> String {
    let server = "- ipAddress: 10.0.0.100";
    let changed = document(true).replace(server, &format!("{server}\n{more}"));
    fs::write(world.directory().join("config.yaml"), changed).unwrap();
    let launch = controller(world, 0, &["--apiserver", "10.0.0.11:6443"]);
    let daemon = &mut world.node_mut(0).controller;
    daemon.replace(launch);
    daemon.start().unwrap();
    assert!(daemon.wait(LONG), "it goes on: {}", daemon.log_tail(5));
    let log = daemon.log_tail(1);
    assert_eq!(daemon.state(), State::Ended { code: Some(code) }, "{log}");
    let host = world.node(0).host();
    assert_eq!(addresses(host, "dummyvip0"), Vec::<String>::new());
    assert_eq!(on(host, "ipvsadm -Sn"), "");
    log
}
