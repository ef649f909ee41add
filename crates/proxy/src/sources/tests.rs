use std::net::IpAddr;

use super::{Sources, Unwelcome};
use crate::settings::Settings;
use crate::terms::Terms;

fn terms(settings: &Settings) -> Terms {
    Terms::new(settings, 1_000)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn without_rules_everyone_is_let_in_and_nobody_is_counted() {
    let (sources, terms) = (Sources::default(), terms(&Settings::default()));
    assert_eq!(sources.admit(address("192.0.2.1"), &terms), Ok(None));
    assert!(sources.open.lock().unwrap().is_empty());
}

#[test]
fn only_allowed_networks_are_let_in() {
    let allowed_sources = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let terms = terms(&Settings { allowed_sources, ..Settings::default() });
    let sources = Sources::default();
    for (source, expected) in [
        ("10.1.2.3", Ok(None)),
        ("::ffff:10.1.2.3", Ok(None)),
        ("2001:db8::1", Ok(None)),
        ("11.1.2.3", Err(Unwelcome::Foreign)),
        ("::1", Err(Unwelcome::Foreign)),
    ] {
        assert_eq!(sources.admit(address(source), &terms), expected, "{source}");
    }
}

#[test]
fn each_host_has_its_own_share_and_gets_it_back() {
    let settings = Settings { max_connections_per_source: Some(2), ..Settings::default() };
    let (sources, terms) = (Sources::default(), terms(&settings));
    let (one, mapped, other) =
        (address("192.0.2.1"), address("::ffff:192.0.2.1"), address("192.0.2.2"));
    assert_eq!(sources.admit(one, &terms), Ok(Some(one)));
    assert_eq!(sources.admit(mapped, &terms), Ok(Some(one)));
    assert_eq!(sources.admit(one, &terms), Err(Unwelcome::TooMany));
    assert_eq!(sources.admit(other, &terms), Ok(Some(other)));
    sources.gone(Some(one));
    assert_eq!(sources.admit(one, &terms), Ok(Some(one)));
    for admitted in [one, one, other] {
        sources.gone(Some(admitted));
    }
    assert!(sources.open.lock().unwrap().is_empty(), "nothing is kept of who has gone");
}

#[test]
fn a_limit_that_comes_counts_who_comes_and_one_that_goes_counts_down() {
    let sources = Sources::default();
    let host = address("192.0.2.1");
    let (none, one) = (
        terms(&Settings::default()),
        terms(&Settings { max_connections_per_source: Some(1), ..Settings::default() }),
    );
    let early = sources.admit(host, &none).unwrap();
    let counted = sources.admit(host, &one).unwrap();
    assert_eq!((early, counted), (None, Some(host)));
    assert_eq!(sources.admit(host, &one), Err(Unwelcome::TooMany));
    sources.gone(early);
    assert_eq!(sources.admit(host, &one), Err(Unwelcome::TooMany), "it was not counted");
    assert_eq!(sources.admit(host, &none), Ok(None));
    sources.gone(counted);
    assert!(sources.open.lock().unwrap().is_empty());
}
