use proptest::prelude::*;

use super::*;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn rate(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap()
}

/// Plays it to its end with clients that come back at once, to the backend with the fewest. When
/// how many connections were ended.
fn play(per_second: u32, open: &mut [usize]) -> Vec<(Duration, usize)> {
    let mut ended = Vec::new();
    let Some(mut rebalance) = Rebalance::begin(rate(per_second), Duration::ZERO, open) else {
        return ended;
    };
    let (mut now, mut spent) = (Duration::ZERO, 0);
    while let Some(grants) = rebalance.pass(now, spent, open) {
        spent = grants.iter().sum();
        ended.push((now, spent));
        for (index, grant) in grants.into_iter().enumerate() {
            for _ in 0..grant {
                open[index] -= 1;
                let fewest = (0..open.len()).min_by_key(|&it| open[it]).unwrap();
                open[fewest] += 1;
            }
        }
        now += PASS;
    }
    ended
}

#[test]
fn nothing_is_done_for_less_than_a_fifth() {
    let begins = |open: &[usize]| Rebalance::begin(rate(1), Duration::ZERO, open).is_some();
    for even in [
        &[][..],
        &[0],
        &[7],
        &[0, 0, 0],
        &[1, 1, 0],
        &[2, 2, 0],
        &[10, 10, 10],
        &[120, 80],
        &[12, 9, 9],
    ] {
        assert!(!begins(even), "{even:?}");
    }
    for skewed in [&[2, 0][..], &[121, 79], &[150, 150, 0], &[13, 10, 7]] {
        assert!(begins(skewed), "{skewed:?}");
    }
}

#[test]
fn all_get_their_share_at_the_rate_that_is_allowed() {
    let mut open = [150, 150, 0];
    let ended = play(20, &mut open);
    assert_eq!(open, [100, 100, 100]);
    assert_eq!(ended.iter().map(|(_, count)| count).sum::<usize>(), 100, "none in vain");
    // 2 in each pass but the first, and the last of 100 therefore after 5 s.
    assert!(ended.iter().all(|(_, count)| *count <= 2), "{ended:?}");
    assert_eq!(ended.last().unwrap(), &(millis(5_000), 2));
}

#[test]
fn one_a_second_is_one_each_second() {
    let mut open = [4, 4, 1];
    let ended = play(1, &mut open);
    assert_eq!(open, [3, 3, 3]);
    let times: Vec<_> = ended.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(times, [(millis(1_000), 1), (millis(2_000), 1)]);
}

#[test]
fn what_was_not_used_is_lost() {
    let mut rebalance = Rebalance::begin(rate(10), Duration::ZERO, &[100, 0]).unwrap();
    // For a minute no connection comes to rest.
    for pass in 1..600 {
        let grants = rebalance.pass(PASS * pass, 0, &[100, 0]).unwrap();
        assert_eq!(grants, [1, 0], "in pass {pass}");
    }
    let grants = rebalance.pass(PASS * 600, 1, &[99, 0]).unwrap();
    assert_eq!(grants, [1, 0]);
}

#[test]
fn clients_that_do_not_come_back_are_no_reason_for_more() {
    let mut rebalance = Rebalance::begin(rate(1_000), Duration::ZERO, &[30, 30, 0]).unwrap();
    let (mut open, mut spent, mut ended, mut pass) = ([30, 30, 0], 0, 0, 0);
    while let Some(grants) = rebalance.pass(PASS * pass, spent, &open) {
        spent = grants.iter().sum();
        ended += spent;
        open.iter_mut().zip(grants).for_each(|(open, grant)| *open -= grant);
        pass += 1;
    }
    assert_eq!((open, ended), ([20, 20, 0], 20));
}

#[test]
fn it_ends_after_ten_minutes_whatever_happens() {
    let mut rebalance = Rebalance::begin(rate(1), millis(5), &[9, 0]).unwrap();
    assert!(rebalance.pass(millis(600_004), 0, &[9, 0]).is_some());
    assert!(rebalance.pass(millis(600_005), 0, &[9, 0]).is_none());
}

proptest! {
    #[test]
    fn the_rate_is_kept_and_the_end_is_even(
        mut open in prop::collection::vec(0_usize..200, 1..6),
        per_second in 1_u32..=1_000,
    ) {
        let total: usize = open.iter().sum();
        let skewed = Rebalance::begin(rate(per_second), Duration::ZERO, &open).is_some();
        let ended = play(per_second, &mut open);
        let count: usize = ended.iter().map(|(_, count)| count).sum();
        let took = ended.last().map_or(Duration::ZERO, |(at, _)| *at);
        prop_assert!(count as f64 <= f64::from(per_second) * took.as_secs_f64() + 1.0);
        prop_assert_eq!(open.iter().sum::<usize>(), total);
        if skewed && took < LONGEST - PASS {
            prop_assert!(open.iter().all(|it| *it <= total.div_ceil(open.len())), "{:?}", open);
        }
    }
}
