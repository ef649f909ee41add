use std::env;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::netns::add_address;
use crate::test_cable::{Cable, eth0, run, wait_for};

const V4: &str = "10.9.0.100/24";
const V6: &str = "fd09::100/64";

fn address(text: &str) -> VirtualAddress {
    text.parse().unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What `ip` shows of the address: its line and the line of its lifetimes, without indentation.
fn shown(text: &str) -> Option<String> {
    let listing = run("ip", &["address", "show", "dev", "eth0"]);
    let mut lines = listing.lines().map(str::trim);
    let line = lines.find(|line| line.contains(&format!(" {text} ")))?;
    Some(format!("{line}\n{}", lines.next().unwrap()))
}

/// How late the kernel may take away an address that has outlived itself: documented at
/// [`Addresses::hold`] as 1.2 s, and one more for a machine on which other tests hold the lock of
/// the kernel's network configuration.
const LATE: Duration = Duration::from_millis(2200);

/// How long it takes from `start` until the address is gone.
fn gone_after(text: &str, start: Instant) -> Duration {
    let mut addresses = Addresses::open().unwrap();
    let sought = address(text);
    while addresses.list().unwrap().iter().any(|found| found.virtual_address() == sought) {
        assert!(start.elapsed() < seconds(10), "{text} is still there");
        sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn a_virtual_address_is_read_and_printed() {
    let cases = [
        ("10.0.0.100/24", [10, 0, 0, 100].into(), 24),
        ("0.0.0.0/0", [0, 0, 0, 0].into(), 0),
        ("192.0.2.1/32", [192, 0, 2, 1].into(), 32),
        ("2001:db8::100/64", IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100]), 64),
        ("::1/128", IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), 128),
    ];
    for (text, ip, prefix_length) in cases {
        let expected = VirtualAddress { address: ip, prefix_length };
        assert_eq!(text.parse(), Ok(expected));
        assert_eq!(expected.to_string(), text);
    }
}

#[test]
fn anything_else_is_no_virtual_address() {
    let cases = [
        "",
        "/",
        "10.0.0.100",
        "10.0.0.100/",
        "10.0.0.100/33",
        "10.0.0.100/+24",
        "10.0.0.100/-1",
        "10.0.0.100/24/24",
        "10.0.0/24",
        "fe80::1%eth0/64",
        "::1/129",
        "::1/256",
        "host/24",
    ];
    for text in cases {
        let error = text.parse::<VirtualAddress>().unwrap_err();
        assert!(error.to_string().starts_with(&format!("{text:?} is no address")), "{error}");
    }
}

#[test]
fn a_held_address_is_as_the_kernel_shall_have_it() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        addresses.hold(index, &address(V4), seconds(60)).unwrap();
        addresses.hold(index, &address(V6), seconds(60)).unwrap();

        // No broadcast address, secondary since 10.9.0.1/24 was there before.
        assert_eq!(
            shown(V4).unwrap(),
            "inet 10.9.0.100/24 scope global secondary deprecated dynamic eth0\n\
             valid_lft 60sec preferred_lft 0sec"
        );
        assert_eq!(
            shown(V6).unwrap(),
            "inet6 fd09::100/64 scope global nodad deprecated dynamic noprefixroute\n\
             valid_lft 60sec preferred_lft 0sec"
        );

        let found: Vec<Found> =
            addresses.list().unwrap().into_iter().filter(|found| found.ours).collect();
        let expected = |text: &str, secondary| Found {
            link_index: index,
            address: address(text).address,
            prefix_length: address(text).prefix_length,
            ours: true,
            valid_for: Some(seconds(60)),
            secondary,
            tentative: false,
            dad_failed: false,
        };
        assert_eq!(found, [expected(V4, true), expected(V6, false)]);
    });
}

#[test]
fn the_hosts_own_addresses_are_listed_as_not_ours() {
    Cable::new().here(|| {
        let found = Addresses::open().unwrap().list().unwrap();
        let own = found.iter().find(|found| found.virtual_address() == address("10.9.0.1/24"));
        let own = own.unwrap();
        assert_eq!((own.ours, own.valid_for, own.secondary), (false, None, false));
    });
}

#[test]
fn an_address_stays_while_it_is_renewed_and_goes_by_itself_afterwards() {
    for text in [V4, V6] {
        Cable::new().here(|| {
            let mut addresses = Addresses::open().unwrap();
            let index = eth0().index;
            let start = Instant::now();
            while start.elapsed() < seconds(4) {
                addresses.hold(index, &address(text), seconds(2)).unwrap();
                sleep(Duration::from_millis(300));
                assert!(shown(text).is_some(), "gone after {:?}", start.elapsed());
            }
            addresses.hold(index, &address(text), seconds(2)).unwrap();
            let gone = gone_after(text, Instant::now());
            println!("{text}: lifetime 2 s, gone after {gone:?}");
            assert!(gone > Duration::from_millis(1900), "{text} gone too early, after {gone:?}");
            assert!(gone < seconds(2) + LATE, "{text} gone only after {gone:?}");
        });
    }
}

/// The bound that [`Addresses::hold`] documents. Addresses that end soon one after the other are
/// the worst case: the kernel leaves a second between two of its looks.
#[test]
fn the_lifetime_is_overrun_by_little_more_than_a_second() {
    for (prefix, length) in [("10.9.0.", 24), ("fd09::", 64)] {
        Cable::new().here(|| {
            let mut addresses = Addresses::open().unwrap();
            let index = eth0().index;
            let mut held: Vec<(String, Instant)> = Vec::new();
            for host in 100..116 {
                let text = format!("{prefix}{host}/{length}");
                addresses.hold(index, &address(&text), seconds(1)).unwrap();
                held.push((text, Instant::now()));
                sleep(Duration::from_millis(66));
            }
            for (text, since) in held {
                let gone = gone_after(&text, since);
                println!("{text}: lifetime 1 s, seen gone after {gone:?}");
                assert!(gone < seconds(1) + LATE, "{text} gone only after {gone:?}");
            }
        });
    }
}

/// Killed or frozen, the process renews no more. It is this very test, started again.
#[test]
fn the_address_of_a_killed_or_frozen_process_goes() {
    const HOLDER: &str = "CPLB_TEST_ADDRESS_HOLDER";
    if env::var_os(HOLDER).is_some() {
        hold_until_killed();
    }
    for signal in [Signal::KILL, Signal::STOP] {
        let cable = Cable::new();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .env(HOLDER, "1")
            .args(["--exact", "address::tests::the_address_of_a_killed_or_frozen_process_goes"]);
        let mut holder = Holder(cable.here.spawn(command).unwrap());
        cable.here(|| {
            for text in [V4, V6] {
                wait_for("the other process to hold its addresses", || shown(text));
            }
            sleep(seconds(3));
            assert!(shown(V4).is_some() && shown(V6).is_some(), "not renewed");

            kill_process(Pid::from_child(&holder.0), signal).unwrap();
            let killed = Instant::now();
            for text in [V4, V6] {
                let gone = gone_after(text, killed);
                println!("{signal:?}: {text} gone after {gone:?}");
                assert!(gone < seconds(2) + LATE, "{text} gone only after {gone:?}");
            }
        });
        holder.end();
    }
}

struct Holder(Child);

impl Holder {
    fn end(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

fn hold_until_killed() {
    let mut addresses = Addresses::open().unwrap();
    let index = eth0().index;
    // Killed long before; the bound is for the case that the test is.
    for _ in 0..300 {
        addresses.hold(index, &address(V4), seconds(2)).unwrap();
        addresses.hold(index, &address(V6), seconds(2)).unwrap();
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_address_that_is_not_ours_is_neither_taken_over_nor_removed() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        for text in [V4, V6] {
            add_address("eth0", &address(text)).unwrap();
            let error = addresses.hold(index, &address(text), seconds(2)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "{text} is already on interface {index} and was not put there by cplb: choose \
                     a free address, or remove it with `ip address del`"
                )
            );
            assert!(!addresses.release(index, &address(text)).unwrap());
            assert!(shown(text).unwrap().ends_with("valid_lft forever preferred_lft forever"));
        }
        assert_eq!(addresses.release_ours().unwrap(), []);
        assert!(shown(V4).is_some() && shown(V6).is_some());
    });
}

#[test]
fn what_a_crash_left_is_taken_over_or_cleaned_up() {
    Cable::new().here(|| {
        let index = eth0().index;
        for text in [V4, V6] {
            Addresses::open().unwrap().hold(index, &address(text), seconds(60)).unwrap();
        }

        let mut addresses = Addresses::open().unwrap();
        addresses.hold(index, &address(V4), seconds(30)).unwrap();
        assert!(shown(V4).unwrap().ends_with("valid_lft 30sec preferred_lft 0sec"));

        let released = addresses.release_ours().unwrap();
        let released: Vec<_> =
            released.iter().map(|found| found.virtual_address().to_string()).collect();
        assert_eq!(released, [V4, V6]);
        assert_eq!((shown(V4), shown(V6)), (None, None));
        assert!(shown("10.9.0.1/24").is_some() && shown("fd09::1/64").is_some());
        assert_eq!(addresses.release_ours().unwrap(), []);
    });
}

#[test]
fn a_released_address_is_gone_at_once_and_only_once() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        for text in [V4, V6] {
            addresses.hold(index, &address(text), seconds(60)).unwrap();
            assert!(addresses.release(index, &address(text)).unwrap());
            assert_eq!(shown(text), None);
            assert!(!addresses.release(index, &address(text)).unwrap());
        }
    });
}

#[test]
fn an_address_that_somebody_removed_is_back_with_the_next_hold() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        for text in [V4, V6] {
            addresses.hold(index, &address(text), seconds(60)).unwrap();
            run("ip", &["address", "del", text, "dev", "eth0"]);
            assert_eq!(shown(text), None);
            addresses.hold(index, &address(text), seconds(60)).unwrap();
            assert!(shown(text).is_some());
        }
    });
}

#[test]
fn a_fraction_of_a_second_is_cut_off_but_never_to_nothing() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        addresses.hold(index, &address(V4), Duration::from_millis(59_900)).unwrap();
        assert!(shown(V4).unwrap().contains("valid_lft 59sec"));
        addresses.hold(index, &address(V4), Duration::ZERO).unwrap();
        assert!(shown(V4).unwrap().contains("valid_lft 1sec"));
    });
}

#[test]
fn an_interface_that_is_gone_is_an_error_that_names_it() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let error = addresses.hold(4711, &address(V4), seconds(2)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NODEV));
        assert_eq!(
            error.to_string(),
            "the kernel refused to add the address 10.9.0.100/24 to interface 4711: No such \
             device (os error 19) (ipv4: Device not found)"
        );
        assert!(!addresses.release(4711, &address(V4)).unwrap());
    });
}

#[test]
fn an_address_of_another_program_is_removed_when_it_is_meant() {
    Cable::new().here(|| {
        let mut addresses = Addresses::open().unwrap();
        let index = eth0().index;
        for text in [V4, V6] {
            add_address("eth0", &address(text)).unwrap();
            assert!(shown(text).is_some());
            assert!(addresses.remove(index, &address(text)).unwrap());
            assert_eq!(shown(text), None);
            assert!(!addresses.remove(index, &address(text)).unwrap());
        }
    });
}
