use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::health::Health;
use crate::testing::{Apiserver, Cluster, State};
use crate::tls;

fn checker(addresses: &[SocketAddr]) -> Checker {
    let mut checker =
        Checker::new(HealthSettings::default(), Check::Readyz(Arc::new(tls::anonymous())));
    checker.check_only(&addresses.iter().copied().collect());
    checker
}

/// The next change of health, which must come within `seconds`, and how long it took.
async fn change(checker: &mut Checker, seconds: u64) -> (Change, Duration) {
    let begin = Instant::now();
    let change = async {
        loop {
            if let Some(change) = checker.step().await {
                return (change, begin.elapsed());
            }
        }
    };
    timeout(Duration::from_secs(seconds), change).await.expect("health changes")
}

fn to(address: SocketAddr, from: Health, to: Health) -> Change {
    (address, Transition { from, to })
}

#[tokio::test]
async fn hung_apiserver_is_out_within_three_seconds_and_comes_back() {
    let server = Apiserver::start(&Cluster::new(), State::default()).await;
    let address = server.address;
    let mut checker = checker(&[address]);
    let (first, took) = change(&mut checker, 1).await;
    assert_eq!(first, to(address, Health::Unknown, Health::Healthy));
    assert!(took < Duration::from_millis(500), "checked at once: {took:?}");
    assert!(checker.entry(address).unwrap().proven);

    server.change(|it| it.frozen = true);
    let (second, took) = change(&mut checker, 3).await;
    assert_eq!(second, to(address, Health::Healthy, Health::Unhealthy));
    assert!(took > Duration::from_millis(1800), "one failure is not enough: {took:?}");

    server.change(|it| it.frozen = false);
    let (third, _) = change(&mut checker, 4).await;
    assert_eq!(third, to(address, Health::Unhealthy, Health::Healthy));
}

#[tokio::test]
async fn killed_apiserver_is_out_at_the_next_check() {
    let server = Apiserver::start(&Cluster::new(), State::default()).await;
    let address = server.address;
    let mut checker = checker(&[address]);
    change(&mut checker, 1).await;
    server.kill().await;
    let (second, took) = change(&mut checker, 2).await;
    assert_eq!(second, to(address, Health::Healthy, Health::Unhealthy));
    assert!(took < Duration::from_millis(1200), "{took:?}");
    assert_eq!(checker.entry(address).unwrap().monitor.reason(), "connection refused");
}

#[tokio::test]
async fn evidence_takes_out_before_any_check() {
    let server = Apiserver::start(&Cluster::new(), State::default()).await;
    let address = server.address;
    let mut checker = checker(&[address]);
    change(&mut checker, 1).await;
    assert_eq!(
        checker.handle_evidence(address, Evidence::Refused),
        Some(to(address, Health::Healthy, Health::Unhealthy))
    );
    let elsewhere = "127.0.0.1:1".parse().unwrap();
    assert_eq!(checker.handle_evidence(elsewhere, Evidence::Refused), None);
    let (back, took) = change(&mut checker, 3).await;
    assert_eq!(back, to(address, Health::Unhealthy, Health::Healthy));
    assert!(took < Duration::from_millis(1500), "the first check is made at once: {took:?}");
}

#[tokio::test]
async fn hung_apiserver_holds_up_no_other() {
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Apiserver::start(&Cluster::new(), State::default()).await;
    let mut checker = checker(&[hung.local_addr().unwrap(), server.address]);
    let (first, took) = change(&mut checker, 1).await;
    assert_eq!(first, to(server.address, Health::Unknown, Health::Healthy));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn what_is_known_stays_known_until_the_address_leaves() {
    let server = Apiserver::start(&Cluster::new(), State::default()).await;
    let address = server.address;
    let mut checker = checker(&[address]);
    change(&mut checker, 1).await;
    let other = "127.0.0.1:1".parse().unwrap();
    checker.check_only(&[address, other].into());
    assert_eq!(checker.entry(address).unwrap().monitor.health(), Health::Healthy);
    checker.check_only(&[other].into());
    assert!(checker.entry(address).is_none());
    checker.check_only(&BTreeSet::new());
    assert!(timeout(Duration::from_millis(300), checker.step()).await.is_err(), "nothing to do");
}
