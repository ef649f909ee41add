use std::env;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::netns::Namespace;
use crate::process::die_with_parent;
use crate::test_cable::{Cable, give, listen, port_reached, run, wait_for};

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

/// What `nft list ruleset` shows for both rules, without the first line: it ends with the owner's
/// name.
const LISTING: &str = r#"
	flags owner

	chain prerouting {
		type nat hook prerouting priority dstnat - 10; policy accept;
		ip daddr 10.9.0.100 tcp dport 6443 counter packets 0 bytes 0 redirect to :6444 comment "cplb: 10.9.0.100:6443 to 6444"
		ip6 daddr fd09::100 tcp dport 6443 counter packets 0 bytes 0 redirect to :6444 comment "cplb: [fd09::100]:6443 to 6444"
	}

	chain output {
		type nat hook output priority -110; policy accept;
		ip daddr 10.9.0.100 tcp dport 6443 counter packets 0 bytes 0 redirect to :6444 comment "cplb: 10.9.0.100:6443 to 6444"
		ip6 daddr fd09::100 tcp dport 6443 counter packets 0 bytes 0 redirect to :6444 comment "cplb: [fd09::100]:6443 to 6444"
	}
}
"#;

/// Set for the process that is to be killed.
const OWNER: &str = "CPLB_TEST_OWNER";

/// Runs a test in a namespace of its own.
pub(super) fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let namespace =
        Namespace::new().expect("these tests make network namespaces: run them as root");
    namespace.run(work).unwrap()
}

fn ruleset() -> String {
    run("nft", &["list", "ruleset"])
}

/// A host that has both virtual addresses, an apiserver on 6443 and a load balancer on 6444, with a
/// client at the other end.
fn host_with_vips() -> (Cable, Vec<TcpListener>) {
    let cable = Cable::new();
    let listeners = cable.here(|| {
        give("10.9.0.100/24");
        give("fd09::100/64");
        vec![listen(6443), listen(6444)]
    });
    (cable, listeners)
}

#[test]
fn nft_lists_the_rules_as_an_administrator_would_write_them() {
    in_namespace(|| {
        let mut redirect = Redirect::install(TABLE, &[V4, V6]).unwrap();
        let listing = ruleset();
        let (head, rest) = listing.split_at(listing.find('\n').unwrap());
        assert!(head.starts_with("table inet cplb {"), "{head}");
        assert_eq!(rest, LISTING);
        assert!(redirect.intact().unwrap());

        drop(redirect);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn connections_of_other_hosts_and_of_this_one_reach_the_load_balancer() {
    let (cable, listeners) = host_with_vips();
    let mut redirect = cable.here(|| Redirect::install(TABLE, &[V4, V6]).unwrap());
    for from in [&cable.there, &cable.here] {
        for rule in [V4, V6] {
            assert_eq!(port_reached(rule.vip, 6443, from, &listeners), 6444);
        }
    }
    // Only the virtual addresses are redirected.
    for own in ["10.9.0.1", "fd09::1"] {
        let own: IpAddr = own.parse().unwrap();
        assert_eq!(port_reached(own, 6443, &cable.there, &listeners), 6443);
    }
    let counts = redirect.counts().unwrap();
    // Two packets each, although there is a rule in both chains: one connection from each host.
    assert_eq!(counts, [V4, V6].map(|rule| Count { rule, connections: 2 }));

    redirect.remove().unwrap();
    for rule in [V4, V6] {
        assert_eq!(port_reached(rule.vip, 6443, &cable.there, &listeners), 6443);
    }
}

#[test]
fn a_rule_for_this_host_leaves_the_connections_of_others_alone() {
    let (cable, listeners) = host_with_vips();
    let rules = [V4, V6].map(|rule| Rule { of: Origin::ThisHost, ..rule });
    for method in [Method::Nftables, Method::Iptables] {
        let mut redirect = cable.here(|| Redirect::install_by(method, TABLE, &rules).unwrap());
        assert!(cable.here(|| redirect.intact().unwrap()));
        for vip in [V4.vip, V6.vip] {
            assert_eq!(port_reached(vip, 6443, &cable.here, &listeners), 6444, "{method:?}");
            assert_eq!(port_reached(vip, 6443, &cable.there, &listeners), 6443, "{method:?}");
        }
        cable.here(|| redirect.remove().unwrap());
    }
}

#[test]
fn other_destination_nat_comes_later() {
    let (cable, mut listeners) = host_with_vips();
    cable.here(|| {
        listeners.push(listen(9999));
        let rules = "table ip other {
            chain prerouting {
                type nat hook prerouting priority -100
                tcp dport 6443 redirect to :9999
            }
            chain output {
                type nat hook output priority -100
                tcp dport 6443 redirect to :9999
            }
        }";
        run("nft", &[rules]);
    });
    for from in [&cable.there, &cable.here] {
        assert_eq!(port_reached(V4.vip, 6443, from, &listeners), 9999, "without our table");
    }
    let _redirect = cable.here(|| Redirect::install(TABLE, &[V4]).unwrap());
    for from in [&cable.there, &cable.here] {
        assert_eq!(port_reached(V4.vip, 6443, from, &listeners), 6444);
    }
}

#[test]
fn no_connection_slips_through_while_rules_are_replaced() {
    let (cable, listeners) = host_with_vips();
    let mut redirect = cable.here(|| Redirect::install(TABLE, &[V4]).unwrap());
    let done = AtomicBool::new(false);
    let replaced = thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let rules = if rounds % 2 == 0 { &[V4, V6][..] } else { &[V4] };
                redirect.replace(rules).unwrap();
                rounds += 1;
            }
            rounds
        });
        let ports: Vec<u16> =
            (0..300).map(|_| port_reached(V4.vip, 6443, &cable.there, &listeners)).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(ports, [6444; 300]);
        replacing.join().unwrap()
    });
    assert!(replaced > 10, "replaced only {replaced} times");
}

#[test]
fn rules_change_hands_and_no_connection_slips_through() {
    let (cable, listeners) = host_with_vips();
    let mut holder = cable.here(|| Redirect::install(TABLE, &[V4]).unwrap());
    let done = AtomicBool::new(false);
    let changed = thread::scope(|scope| {
        let changing = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let rules = if rounds % 2 == 0 { &[V4, V6][..] } else { &[V4] };
                let bequest = holder.bequeath().unwrap();
                let heir = Redirect::inherit(bequest, TABLE, rules).unwrap();
                std::mem::replace(&mut holder, heir).leave();
                rounds += 1;
            }
            rounds
        });
        let ports: Vec<u16> =
            (0..300).map(|_| port_reached(V4.vip, 6443, &cable.there, &listeners)).collect();
        done.store(true, Ordering::Relaxed);
        assert_eq!(ports, [6444; 300]);
        changing.join().unwrap()
    });
    assert!(changed > 10, "changed hands only {changed} times");

    // One that nobody accepts takes nothing away, and the last holder everything.
    drop(holder.bequeath().unwrap());
    assert!(cable.here(|| ruleset().contains("table inet cplb")));
    drop(holder);
    assert_eq!(cable.here(ruleset), "");
}

#[test]
fn rules_of_iptables_change_hands_too() {
    let (cable, listeners) = host_with_vips();
    cable.here(|| {
        let old = Redirect::install_by(Method::Iptables, TABLE, &[V4]).unwrap();
        let mut new = Redirect::inherit(old.bequeath().unwrap(), TABLE, &[V6]).unwrap();
        old.leave();
        assert!(new.intact().unwrap());
        assert_eq!(port_reached(V6.vip, 6443, &cable.there, &listeners), 6444);
        assert_eq!(port_reached(V4.vip, 6443, &cable.there, &listeners), 6443);
        new.remove().unwrap();
        assert_eq!(port_reached(V6.vip, 6443, &cable.there, &listeners), 6443);
    });
}

/// By notifications of nftables, or the size of the table.
#[test]
fn rules_of_iptables_that_others_remove_are_mended() {
    let (cable, listeners) = host_with_vips();
    cable.here(|| {
        let mut redirect = Redirect::install_by(Method::Iptables, TABLE, &[V4]).unwrap();
        let mut now = Instant::now();
        // Its own changes are looked at, and others are none.
        for _ in 0..10 {
            now += Duration::from_secs(5);
            assert!(!redirect.is_due(now) || redirect.intact().unwrap());
        }
        assert!(!redirect.is_due(now));
        run("iptables", &["-t", "nat", "-F", "CPLB-PREROUTING"]);
        assert_eq!(port_reached(V4.vip, 6443, &cable.there, &listeners), 6443);
        assert!(redirect.is_due(now + Duration::from_secs(5)));
        assert!(!redirect.intact().unwrap());
        redirect.reinstall().unwrap();
        assert!(redirect.intact().unwrap());
        assert_eq!(port_reached(V4.vip, 6443, &cable.there, &listeners), 6444);
    });
}

#[test]
fn replacing_leaves_only_the_new_rules() {
    in_namespace(|| {
        let mut redirect = Redirect::install(TABLE, &[V4]).unwrap();
        redirect.replace(&[V4, V6]).unwrap();
        assert!(ruleset().ends_with(LISTING));
        redirect.replace(&[]).unwrap();
        assert!(!ruleset().contains("daddr"));
        assert!(redirect.intact().unwrap());
    });
}

#[test]
fn nobody_else_can_flush_or_change_an_owned_table() {
    in_namespace(|| {
        let mut redirect = Redirect::install(TABLE, &[V4, V6]).unwrap();
        run("nft", &["flush", "ruleset"]);
        assert!(ruleset().ends_with(LISTING));
        assert!(redirect.intact().unwrap());
        for change in ["delete table inet cplb", "flush chain inet cplb output"] {
            let output = Command::new("nft").arg(change).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(errors.contains("Operation not permitted"), "{change}: {errors}");
        }
    });
}

#[test]
fn replaces_what_a_crash_left_behind() {
    in_namespace(|| {
        let leftover = "table inet cplb {
            chain output {
                type filter hook output priority 0
                tcp dport 1 drop
            }
            chain old {
                drop
            }
        }";
        run("nft", &[leftover]);
        let _redirect = Redirect::install(TABLE, &[V4, V6]).unwrap();
        assert!(ruleset().ends_with(LISTING), "{}", ruleset());
    });
}

#[test]
fn leftovers_are_removed_and_strangers_stay() {
    in_namespace(|| {
        run("nft", &["add table inet cplb; add table ip cplb; add table inet cplb-worker"]);
        assert!(remove_leftovers(TABLE).unwrap());
        assert!(!remove_leftovers(TABLE).unwrap());
        assert_eq!(ruleset(), "table ip cplb {\n}\ntable inet cplb-worker {\n}\n");
    });
}

#[test]
fn a_second_instance_is_refused() {
    in_namespace(|| {
        let _first = Redirect::install(TABLE, &[V4, V6]).unwrap();
        for error in
            [Redirect::install(TABLE, &[V4]).unwrap_err(), remove_leftovers(TABLE).unwrap_err()]
        {
            assert!(matches!(&error, Error::OtherInstance { table, .. } if table == "cplb"));
            assert!(error.to_string().starts_with("another cplb runs in this network namespace"));
        }
        assert!(ruleset().ends_with(LISTING));
        Redirect::install("cplb-worker", &[V4]).unwrap();
    });
}

#[test]
fn says_which_permission_is_missing() {
    let error = in_namespace(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        Redirect::install(TABLE, &[V4]).unwrap_err()
    });
    assert_eq!(
        error.to_string(),
        "not permitted to list the nftables tables: run as root, or grant CAP_NET_ADMIN"
    );
}

/// The owner is this very test, started again.
#[test]
fn the_table_goes_with_a_killed_process() {
    if env::var_os(OWNER).is_some() {
        return own_a_table_until_killed();
    }
    in_namespace(|| {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "redirect::tests::the_table_goes_with_a_killed_process"])
            .env(OWNER, "1")
            .stdout(Stdio::null());
        die_with_parent(&mut command);
        let mut owner = command.spawn().unwrap();
        wait_for("the table of the other process", || {
            ruleset().contains("table inet cplb").then_some(())
        });
        owner.kill().unwrap();
        owner.wait().unwrap();
        assert_eq!(ruleset(), "");
    });
}

fn own_a_table_until_killed() {
    let _redirect = Redirect::install(TABLE, &[V4]).unwrap();
    thread::sleep(Duration::from_secs(10));
    panic!("nobody killed this process");
}
