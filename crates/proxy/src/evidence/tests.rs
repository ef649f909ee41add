use std::net::SocketAddr;
use std::time::Duration;

use super::EvidenceKind::{Answered, Refused, Silent};
use super::{Evidence, LastReports, Subscribers};

fn backend() -> SocketAddr {
    ([10, 0, 0, 1], 6443).into()
}

/// What is heard of these reports, at milliseconds since the start.
fn heard(reports: &[(super::EvidenceKind, u64)]) -> Vec<super::EvidenceKind> {
    let (subscribers, last) = (Subscribers::default(), LastReports::default());
    let receiver = subscribers.subscribe();
    for &(kind, millis) in reports {
        let evidence = Evidence { backend: backend(), kind };
        subscribers.report(evidence, &last, Duration::from_millis(millis));
    }
    receiver.try_iter().map(|evidence| evidence.kind).collect()
}

#[test]
fn the_same_is_told_once_per_interval() {
    assert_eq!(heard(&[(Refused, 0), (Refused, 99)]), [Refused]);
    assert_eq!(heard(&[(Refused, 0), (Refused, 101)]), [Refused, Refused]);
    assert_eq!(heard(&[(Answered, 5), (Answered, 1004)]), [Answered]);
    assert_eq!(heard(&[(Answered, 5), (Answered, 1005)]), [Answered, Answered]);
}

#[test]
fn different_things_do_not_hide_one_another() {
    let all = [(Refused, 7), (Answered, 7), (Silent, 7)];
    assert_eq!(heard(&all), [Refused, Answered, Silent]);
}

#[test]
fn nobody_is_waited_for() {
    let (subscribers, last) = (Subscribers::default(), LastReports::default());
    let gone = subscribers.subscribe();
    let slow = subscribers.subscribe();
    drop(gone);
    for second in 0..300 {
        let evidence = Evidence { backend: backend(), kind: Refused };
        subscribers.report(evidence, &last, Duration::from_secs(second));
    }
    assert_eq!(slow.try_iter().count(), 256);
    assert_eq!(subscribers.0.load().len(), 1, "who has left is forgotten");
}
