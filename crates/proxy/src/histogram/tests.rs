use std::time::Duration;

use super::Histogram;

#[test]
fn a_duration_counts_in_every_bucket_that_is_not_below_it() {
    let histogram = Histogram::default();
    for micros in [1, 100, 101, 1_000_000, 5_000_000] {
        histogram.record(Duration::from_micros(micros));
    }
    let stats = histogram.stats();
    let up_to = |micros| {
        let bound = Duration::from_micros(micros);
        stats.buckets.iter().find(|(it, _)| *it == bound).map(|(_, count)| *count)
    };
    assert_eq!(up_to(100), Some(2));
    assert_eq!(up_to(250), Some(3));
    assert_eq!(up_to(500_000), Some(3));
    assert_eq!(up_to(1_000_000), Some(4));
    assert_eq!(stats.count, 5);
    assert_eq!(stats.sum, Duration::from_micros(6_000_202));
}

#[test]
fn a_quantile_lies_between_the_bounds_it_falls_between() {
    let histogram = Histogram::default();
    assert_eq!(histogram.stats().quantile(0.5), None);
    for _ in 0..50 {
        histogram.record(Duration::from_micros(80));
    }
    for _ in 0..40 {
        histogram.record(Duration::from_micros(700));
    }
    // 50 of 90 up to 100 µs, 40 from 500 µs to 1 ms: the 45th is 9/10 of the way through the first.
    let stats = histogram.stats();
    assert_eq!(stats.quantile(0.5), Some(Duration::from_micros(90)));
    assert_eq!(stats.quantile(0.75), Some(Duration::from_nanos(718_750)));
    assert_eq!(stats.quantile(1.0), Some(Duration::from_millis(1)));
    for _ in 0..10 {
        histogram.record(Duration::from_secs(7));
    }
    assert_eq!(histogram.stats().quantile(0.99), Some(Duration::from_secs(1)), "or more");
}
