//! The link with the virtual addresses, by the word of ip(8).

use std::collections::BTreeSet;
use std::net::IpAddr;

use kernel::address::Addresses;
use kernel::dummy::Dummy;
use kernel::netns::Namespace;

use crate::Test;
use crate::world::run;

pub(crate) const TESTS: &[Test] = &[
    ("the_link_has_just_the_wanted_addresses", just_the_wanted),
    ("what_is_right_about_the_link_stays_untouched", untouched),
    ("foreign_addresses_on_the_link_go_and_missing_ones_come_back", mended),
    ("a_dummy_link_that_another_program_left_is_taken_over", taken_over),
    ("the_addresses_of_the_link_are_no_sources", no_sources),
];

const NAME: &str = "dummyvip0";

fn addresses(wanted: &[&str]) -> BTreeSet<IpAddr> {
    wanted.iter().map(|address| address.parse().unwrap()).collect()
}

/// The addresses of the link with their scopes, by the word of ip(8); and with the mark, which
/// only newer versions of ip(8) print, by that of the kernel.
fn listed() -> Vec<String> {
    let listing = run("ip", &["-oneline", "address", "show", "dev", NAME]);
    let found = Addresses::open().unwrap().list().unwrap();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let scope = words[words.iter().position(|word| *word == "scope").unwrap() + 1];
        let marked = found.iter().any(|it| it.ours && it.virtual_address().to_string() == words[3]);
        format!("{} {scope} {}", words[3], if marked { "ours" } else { "unmarked" })
    };
    listing.lines().map(entry).collect()
}

fn inside(work: impl FnOnce() + Send) {
    Namespace::new().unwrap().run(work).unwrap();
}

fn just_the_wanted() {
    inside(|| {
        let mut dummy = Dummy::open(NAME).unwrap();
        assert!(dummy.reconcile(&addresses(&["10.0.0.100", "fd00::100"])).unwrap());
        assert_eq!(listed(), ["10.0.0.100/32 host ours", "fd00::100/128 global ours"]);
        let link = run("ip", &["-details", "link", "show", NAME]);
        assert!(link.contains("alias cplb") && link.contains(",UP"), "{link}");

        assert!(dummy.reconcile(&addresses(&["fd00::100", "10.0.0.101"])).unwrap());
        assert_eq!(listed(), ["10.0.0.101/32 host ours", "fd00::100/128 global ours"]);

        assert!(dummy.remove().unwrap());
        assert!(!dummy.remove().unwrap());
        assert!(!run("ip", &["link"]).contains(NAME));
    });
}

/// The kernel tells of every change.
fn untouched() {
    inside(|| {
        let wanted = addresses(&["10.0.0.100", "fd00::100"]);
        Dummy::open(NAME).unwrap().reconcile(&wanted).unwrap();
        let mut monitor = kernel::monitor::Monitor::open().unwrap();
        // It tells of a link's state at most once a second (net/core/link_watch.c).
        std::thread::sleep(std::time::Duration::from_secs(2));
        while monitor.next_event().unwrap().is_some() {}
        assert!(!Dummy::open(NAME).unwrap().reconcile(&wanted).unwrap());
        assert_eq!(monitor.next_event().unwrap(), None);
    });
}

fn mended() {
    inside(|| {
        let wanted = addresses(&["10.0.0.100", "fd00::100"]);
        let mut dummy = Dummy::open(NAME).unwrap();
        dummy.reconcile(&wanted).unwrap();
        run("ip", &["address", "add", "10.9.9.9/24", "dev", NAME]);
        run("ip", &["address", "del", "10.0.0.100/32", "dev", NAME]);
        run("ip", &["link", "set", NAME, "down"]);
        assert!(dummy.reconcile(&wanted).unwrap());
        assert_eq!(listed(), ["10.0.0.100/32 host ours", "fd00::100/128 global ours"]);
        assert!(run("ip", &["link", "show", NAME]).contains(",UP"));
        assert!(!dummy.reconcile(&wanted).unwrap());
    });
}

fn taken_over() {
    inside(|| {
        run("ip", &["link", "add", NAME, "type", "dummy"]);
        run("ip", &["address", "add", "10.0.0.100/32", "dev", NAME]);
        let mut dummy = Dummy::open(NAME).unwrap();
        assert!(!dummy.remove().unwrap(), "it is not ours yet");
        dummy.reconcile(&addresses(&["10.0.0.100"])).unwrap();
        // It was right, and stays.
        assert_eq!(listed(), ["10.0.0.100/32 global unmarked"]);
        assert!(dummy.remove().unwrap());
    });
}

/// RFC 6724 rule 3 (avoid deprecated addresses), and for IPv4 the scope "host".
fn no_sources() {
    inside(|| {
        run("ip", &["link", "add", "eth9", "type", "dummy"]);
        run("ip", &["link", "set", "eth9", "up"]);
        run("ip", &["address", "add", "fd00:9::1/64", "dev", "eth9", "nodad"]);
        run("ip", &["route", "add", "192.0.2.0/24", "dev", "eth9"]);
        let mut dummy = Dummy::open(NAME).unwrap();
        dummy.reconcile(&addresses(&["10.0.0.100", "fd00:9::100"])).unwrap();
        let v6 = run("ip", &["-6", "route", "get", "fd00:9::5"]);
        assert!(v6.contains("src fd00:9::1 "), "{v6}");
        let v4 = run("ip", &["route", "get", "192.0.2.5"]);
        assert!(!v4.contains("10.0.0.100"), "{v4}");
    });
}
