use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::netns::Namespace;
use crate::redirect::Origin;
use crate::test_cable::run;

const RULE: Rule = Rule {
    vip: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)),
    port: 6443,
    to: 6444,
    of: Origin::Anyone,
};

/// A table as Linux before 5.12 has it, without an owner, so that others can change it.
fn unowned() -> Nftables {
    let mut table = Nftables { socket: open().unwrap(), table: "cplb".to_owned(), owned: false };
    table.reinstall(&[RULE]).unwrap();
    table
}

fn after_nft(command: &str, check: impl FnOnce(&mut Nftables) + Send) {
    let namespace =
        Namespace::new().expect("these tests make network namespaces: run them as root");
    let work = || {
        let mut table = unowned();
        assert!(table.intact(&[RULE]).unwrap());
        run("nft", &[command]);
        check(&mut table);
    };
    namespace.run(work).unwrap();
}

fn is_noticed_and_repaired(table: &mut Nftables) {
    assert!(!table.intact(&[RULE]).unwrap());
    table.reinstall(&[RULE]).unwrap();
    assert!(table.intact(&[RULE]).unwrap());
    let listing = run("nft", &["list", "ruleset"]);
    assert_eq!(listing.matches("ip daddr 10.9.0.100 tcp dport 6443").count(), 2, "{listing}");
}

#[test]
fn a_flushed_ruleset_is_noticed_and_repaired() {
    after_nft("flush ruleset", is_noticed_and_repaired);
}

#[test]
fn a_flushed_chain_is_noticed_and_repaired() {
    after_nft("flush chain inet cplb output", is_noticed_and_repaired);
}

#[test]
fn a_strange_rule_is_noticed_and_removed() {
    after_nft("insert rule inet cplb prerouting tcp dport 6443 accept", is_noticed_and_repaired);
}

#[test]
fn replacing_repairs_too() {
    after_nft("flush ruleset", |table| {
        let other = Rule { port: 9443, ..RULE };
        table.replace(&[RULE], &[other]).unwrap();
        assert!(table.intact(&[other]).unwrap());
    });
}

#[test]
fn removing_what_is_gone_is_no_error() {
    after_nft("flush ruleset", |table| table.remove().unwrap());
}

#[test]
fn the_owner_flag_is_given_up_where_the_kernel_refuses_it() {
    let refused = |errno| KernelError::Refused {
        purpose: "create the nftables table cplb".to_owned(),
        errno,
        explanation: crate::error::Explanation::default(),
    };
    // nf_tables_newtable() of Linux 5.4 and of Linux 6.1 for flags they do not know.
    assert!(is_unknown_flag(&refused(Errno::INVAL)));
    assert!(is_unknown_flag(&refused(Errno::OPNOTSUPP)));
    assert!(!is_unknown_flag(&refused(Errno::BUSY)));
}
