use super::*;

#[test]
fn durations_show_their_two_largest_units() {
    for (milliseconds, text) in [
        (0, "0.0s"),
        (1_250, "1.2s"),
        (59_000, "59s"),
        (61_000, "1m1s"),
        (7_260_000, "2h1m"),
        (180_000_000, "2d2h"),
    ] {
        assert_eq!(Ago(milliseconds).to_string(), text);
    }
}
