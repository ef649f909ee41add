use super::*;
use crate::redirect::tests::in_namespace;
use crate::test_cable::run;

fn do_all(lines: &[&str]) {
    for line in lines {
        let (program, arguments) = line.split_once(' ').unwrap();
        run(program, &arguments.split(' ').collect::<Vec<_>>());
    }
}

/// With the iptables of this host that is for nftables. Needs the package iptables.
#[test]
fn changes_of_our_chains_in_nftables_are_heard_at_once_and_those_of_others_not() {
    in_namespace(|| {
        let mut changes = Changes::open("CPLB");
        let now = Instant::now();
        assert!(!changes.is_due(now));
        do_all(&["iptables-nft -t nat -N CPLB-OUTPUT"]);
        assert!(changes.is_due(now));
        assert!(!changes.is_due(now));

        do_all(&[
            "iptables-nft -t nat -N KUBE-SERVICES",
            "iptables-nft -t nat -A KUBE-SERVICES -j RETURN",
            "iptables-nft -t nat -A POSTROUTING -j ACCEPT",
            "iptables-nft -t filter -A OUTPUT -j ACCEPT",
            "nft add table inet nat",
            "nft add chain inet nat OUTPUT",
        ]);
        assert!(!changes.is_due(now));

        for line in [
            "iptables-nft -t nat -A CPLB-OUTPUT -j RETURN",
            "iptables-nft -t nat -F CPLB-OUTPUT",
            "iptables-nft -t nat -A OUTPUT -j CPLB-OUTPUT",
            "iptables-nft -t nat -I OUTPUT -j ACCEPT",
            "nft delete table ip nat",
            "ip6tables-nft -t nat -A PREROUTING -j ACCEPT",
        ] {
            do_all(&[line]);
            assert!(changes.is_due(now), "{line}");
            assert!(!changes.is_due(now), "{line}");
        }
    });
}

/// With the iptables of this host that needs no nftables.
#[test]
fn changes_of_tables_without_nftables_are_seen_every_5_seconds() {
    for (index, program) in ["iptables-legacy", "ip6tables-legacy"].into_iter().enumerate() {
        in_namespace(|| {
            let mut changes = Changes::open("CPLB");
            let start = Instant::now();
            assert!(!changes.is_due(start + AGAIN));
            assert_eq!(changes.legacy_tables(), [None; 2], "asking makes no table");

            run(program, &["-t", "nat", "-A", "OUTPUT", "-j", "ACCEPT"]);
            assert!(changes.legacy_tables()[index].is_some());
            assert!(!changes.is_due(start + AGAIN / 2));
            assert!(changes.is_due(start + AGAIN));
            assert!(!changes.is_due(start + AGAIN * 3));
            run(program, &["-t", "nat", "-F", "OUTPUT"]);
            assert!(changes.is_due(start + AGAIN * 3));
        });
    }
}

#[test]
fn without_any_sign_it_is_due_every_30_seconds() {
    in_namespace(|| {
        let mut changes = Changes::open("CPLB");
        let start = Instant::now();
        assert!(!changes.is_due(start + RARELY / 2));
        assert!(changes.is_due(start + RARELY));
        assert!(!changes.is_due(start + RARELY + RARELY / 2));
        assert!(changes.is_due(start + RARELY * 2));
    });
}
