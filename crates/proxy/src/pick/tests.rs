use super::Among::{All, Good as OnlyGood};
use super::Standing::{Good, Suspect, Tried};
use super::{Standing, pick, pick_least};

fn picks(turns: std::ops::Range<usize>, standings: &[Standing]) -> Vec<Option<usize>> {
    turns.map(|turn| pick(turn, standings.len(), All, |index| standings[index])).collect()
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
    assert_eq!(pick(0, 2, OnlyGood, |_| Suspect), None);
}

#[test]
fn the_clients_of_a_dead_backend_are_spread() {
    // The turns whose first choice among four was number 1.
    let seconds: Vec<_> = [1, 5, 9]
        .map(|turn| pick(turn, 4, All, |index| if index == 1 { Tried } else { Good }))
        .to_vec();
    assert_eq!(seconds, [Some(2), Some(3), Some(0)]);
}

#[test]
fn nobody_is_left() {
    assert_eq!(pick(5, 2, All, |_| Tried), None);
    assert_eq!(pick(5, 0, All, |_| Good), None);
}

#[test]
fn the_least_loaded_one_in_good_standing_is_picked() {
    let least = |turn, standings: [Standing; 3], loads: [usize; 3]| {
        pick_least(turn, 3, All, |index| standings[index], |index| loads[index])
    };
    assert_eq!(least(0, [Good; 3], [2, 1, 3]), Some(1));
    assert_eq!(least(7, [Good; 3], [2, 1, 3]), Some(1), "whatever the turn");
    assert_eq!(least(0, [Good, Suspect, Good], [2, 1, 3]), Some(0));
    assert_eq!(least(0, [Tried, Suspect, Suspect], [0, 5, 4]), Some(2));
    assert_eq!(least(0, [Tried; 3], [0; 3]), None);
    assert_eq!(pick_least(0, 2, OnlyGood, |_| Suspect, |_| 0), None);
    assert_eq!(pick_least(0, 0, All, |_| Good, |_| 0), None);
}

#[test]
fn equally_loaded_ones_take_turns() {
    let picked =
        [0, 1, 2, 3].map(|turn| pick_least(turn, 3, All, |_| Good, |index| [4, 9, 4][index]));
    assert_eq!(picked, [Some(0), Some(2), Some(0), Some(2)]);
}
