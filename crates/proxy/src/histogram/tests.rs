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
