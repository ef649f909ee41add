use std::time::Duration;

use super::Latency;

const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

fn after(samples: &[u64]) -> Latency {
    let latency = Latency::default();
    samples.iter().for_each(|&millis| latency.sample(Duration::from_millis(millis)));
    latency
}

#[test]
fn the_estimate_moves_as_rfc_6298_says() {
    assert_eq!(after(&[]).mean(), None);
    assert_eq!(after(&[80]).mean(), Some(Duration::from_millis(80)));
    // 7/8 of 80 and 1/8 of 160.
    assert_eq!(after(&[80, 160]).mean(), Some(Duration::from_millis(90)));
    assert_eq!(after(&[80, 160]).last(), Some(Duration::from_millis(160)));
}

#[test]
fn too_few_samples_change_nothing() {
    assert_eq!(after(&[1; 7]).patience(LEAST, MOST), MOST);
    assert_ne!(after(&[1; 8]).patience(LEAST, MOST), MOST);
}

#[test]
fn patience_is_several_times_the_upper_estimate_within_bounds() {
    // Quick and steady.
    assert_eq!(after(&[1; 100]).patience(LEAST, MOST), LEAST);
    // Steady at 80 ms, the deviation down to less than 1 ms: a little above three times that.
    let patience = after(&[80; 40]).patience(LEAST, MOST);
    assert!((240..245).contains(&patience.as_millis()), "{patience:?}");
    // Slow, or quick but very unsteady.
    assert_eq!(after(&[500; 100]).patience(LEAST, MOST), MOST);
    assert_eq!(after(&[10, 400].repeat(50)).patience(LEAST, MOST), MOST);
}
