use super::Choice::{Anyone, GoodOnly};
use super::Standing::{Good, Suspect, Tried};
use super::{Standing, pick};

fn picks(turns: std::ops::Range<usize>, standings: &[Standing]) -> Vec<Option<usize>> {
    turns.map(|turn| pick(turn, standings.len(), Anyone, |index| standings[index])).collect()
}

#[test]
fn turns_go_round() {
    let expected = [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2)];
    assert_eq!(picks(0..6, &[Good, Good, Good]), expected);
    assert_eq!(picks(7..9, &[Good, Good, Good]), [Some(1), Some(2)]);
}

#[test]
fn suspects_are_left_out_and_the_others_stay_even() {
    let expected = [Some(0), Some(2), Some(0), Some(2)];
    assert_eq!(picks(0..4, &[Good, Suspect, Good]), expected);
}

#[test]
fn suspects_serve_for_want_of_better_ones() {
    assert_eq!(picks(0..3, &[Suspect, Suspect, Tried]), [Some(0), Some(1), Some(0)]);
    assert_eq!(picks(0..3, &[Suspect, Good, Tried]), [Some(1), Some(1), Some(1)]);
    assert_eq!(pick(0, 2, GoodOnly, |_| Suspect), None);
}

#[test]
fn the_clients_of_a_dead_backend_are_spread() {
    // The turns whose first choice among four was number 1.
    let seconds: Vec<_> = [1, 5, 9]
        .map(|turn| pick(turn, 4, Anyone, |index| if index == 1 { Tried } else { Good }))
        .to_vec();
    assert_eq!(seconds, [Some(2), Some(3), Some(0)]);
}

#[test]
fn nobody_is_left() {
    assert_eq!(pick(5, 2, Anyone, |_| Tried), None);
    assert_eq!(pick(5, 0, Anyone, |_| Good), None);
}
