use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use super::*;
use crate::redirect::Origin;
use crate::redirect::tests::in_namespace;
use crate::test_cable::{Cable, give, listen, port_reached, run};

const V4: Rule = Rule {
    vip: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)),
    port: 6443,
    to: 6444,
    of: Origin::Anyone,
};
const V6: Rule = Rule {
    vip: IpAddr::V6(Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x100)),
    port: 6443,
    to: 6444,
    of: Origin::Anyone,
};

/// `iptables -t nat -S` of iptables 1.8.9 after [`INSTALL`], on a host with a rule of its own.
const INSTALLED: &str = r#"-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N CPLB-OUTPUT
-N CPLB-PREROUTING
-A PREROUTING -m comment --comment cplb -j CPLB-PREROUTING
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A OUTPUT -m comment --comment cplb -j CPLB-OUTPUT
-A CPLB-OUTPUT -d 10.9.0.100/32 -p tcp -m tcp --dport 6443 -m comment --comment "cplb: 10.9.0.100:6443 to 6444" -j REDIRECT --to-ports 6444
-A CPLB-PREROUTING -d 10.9.0.100/32 -p tcp -m tcp --dport 6443 -m comment --comment "cplb: 10.9.0.100:6443 to 6444" -j REDIRECT --to-ports 6444
"#;

const INSTALL: &str = r#"*nat
:CPLB-PREROUTING - [0:0]
:CPLB-OUTPUT - [0:0]
-I PREROUTING 1 -m comment --comment cplb -j CPLB-PREROUTING
-A CPLB-PREROUTING -d 10.9.0.100/32 -p tcp -m tcp --dport 6443 -m comment --comment "cplb: 10.9.0.100:6443 to 6444" -j REDIRECT --to-ports 6444
-I OUTPUT 1 -m comment --comment cplb -j CPLB-OUTPUT
-A CPLB-OUTPUT -d 10.9.0.100/32 -p tcp -m tcp --dport 6443 -m comment --comment "cplb: 10.9.0.100:6443 to 6444" -j REDIRECT --to-ports 6444
COMMIT
"#;

const REMOVE: &str = "*nat
:CPLB-PREROUTING - [0:0]
-D PREROUTING -m comment --comment cplb -j CPLB-PREROUTING
-X CPLB-PREROUTING
:CPLB-OUTPUT - [0:0]
-D OUTPUT -m comment --comment cplb -j CPLB-OUTPUT
-X CPLB-OUTPUT
COMMIT
";

fn lines(listing: &str) -> Vec<String> {
    listing.lines().map(str::to_owned).collect()
}

#[test]
fn installs_in_one_step() {
    assert_eq!(install_script("CPLB", &[V4], &lines("-P PREROUTING ACCEPT\n")), INSTALL);
}

#[test]
fn installing_again_takes_the_old_jumps_away() {
    let script = install_script("CPLB", &[V4], &lines(INSTALLED));
    let without_old_jumps = script
        .replace("-D PREROUTING -m comment --comment cplb -j CPLB-PREROUTING\n", "")
        .replace("-D OUTPUT -m comment --comment cplb -j CPLB-OUTPUT\n", "");
    assert_eq!(without_old_jumps, INSTALL);
    assert_eq!(script.lines().count(), INSTALL.lines().count() + 2);
}

#[test]
fn removes_in_one_step() {
    assert_eq!(removal_script("CPLB", &lines(INSTALLED)), REMOVE);
}

#[test]
fn notices_what_is_missing() {
    let is_installed = |listing: &str| is_installed("CPLB", &[V4], &lines(listing));
    assert!(is_installed(INSTALLED));
    for missing in
        lines(INSTALLED).iter().filter(|line| line.contains("CPLB-") && line.starts_with("-A"))
    {
        assert!(!is_installed(&INSTALLED.replace(&format!("{missing}\n"), "")), "{missing}");
    }
    let other_rule_first = INSTALLED.replace("-A OUTPUT", "-A OUTPUT -j DOCKER\n-A OUTPUT");
    assert!(!is_installed(&other_rule_first));
}

/// With the iptables of this host, in both families. Needs the package iptables.
#[test]
fn connections_reach_the_load_balancer() {
    let cable = Cable::new();
    let listeners = cable.here(|| {
        give("10.9.0.100/24");
        give("fd09::100/64");
        [6443, 6444, 9999].map(listen)
    });
    let reached = |expected: u16| assert_reached(&cable, &listeners, expected);
    let program =
        cable.here(|| Nat::read("iptables").expect("install the package iptables").program);
    for (program, chain) in [
        (program, "PREROUTING"),
        (program, "OUTPUT"),
        (&program.replace("ip", "ip6"), "PREROUTING"),
        (&program.replace("ip", "ip6"), "OUTPUT"),
    ] {
        let other = ["-p", "tcp", "--dport", "6443", "-j", "REDIRECT", "--to-ports", "9999"];
        cable.here(|| run(program, &[&["-t", "nat", "-A", chain][..], &other].concat()));
    }
    reached(9999);

    let mut iptables = cable.here(|| Iptables::install("cplb", &[V4, V6]).unwrap());
    reached(6444);
    assert!(cable.here(|| iptables.intact(&[V4, V6]).unwrap()));

    cable.here(|| run(program, &["-t", "nat", "-F", "CPLB-OUTPUT"]));
    assert!(!cable.here(|| iptables.intact(&[V4, V6]).unwrap()));
    cable.here(|| iptables.replace(&[V4, V6]).unwrap());
    reached(6444);

    assert!(cable.here(|| remove_leftovers("cplb").unwrap()));
    assert!(!cable.here(|| remove_leftovers("cplb").unwrap()));
    reached(9999);
}

#[test]
fn where_there_is_no_table_no_program_looks_for_ours() {
    in_namespace(|| {
        for family in &FAMILIES {
            assert_eq!(read_all(family).count(), 0);
            run(family.programs[1], &["-t", "nat", "-A", "OUTPUT", "-j", "ACCEPT"]);
            let programs: Vec<&str> = read_all(family).map(|nat| nat.program).collect();
            assert_eq!(programs, [family.programs[1]]);
        }
    });
}

/// Both iptables of this host are used: the one that was installed by is the one that is asked.
#[test]
fn rules_are_found_by_whichever_program_has_installed_them() {
    in_namespace(|| {
        let legacy = Nat::empty("iptables-legacy");
        legacy.restore(&install_script("CPLB", &[V4], &[])).unwrap();
        let mut iptables = Iptables::inherit("cplb", &[V4]).unwrap();
        assert_eq!(iptables.programs, [Some("iptables-legacy"), None]);
        assert!(iptables.intact(&[V4]).unwrap());
        run("iptables-legacy", &["-t", "nat", "-F", "CPLB-OUTPUT"]);
        assert!(!iptables.intact(&[V4]).unwrap());
    });
}

fn assert_reached(cable: &Cable, listeners: &[TcpListener], expected: u16) {
    for from in [&cable.there, &cable.here] {
        for rule in [V4, V6] {
            assert_eq!(port_reached(rule.vip, 6443, from, listeners), expected);
        }
    }
}
