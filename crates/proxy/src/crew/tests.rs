use std::time::{Duration, Instant};

use super::{Crew, Usage};

fn unknown() -> Option<Duration> {
    None
}

/// What becomes of them in three looks at the same shares, with so much idle time between the first
/// and the last.
fn three_looks(working: usize, shares: &[u32], idle: Option<u64>) -> [usize; 3] {
    let mut crew = Crew::new(1);
    let mut before = Some(1_000);
    [(); 3].map(|()| {
        crew.next(working, shares, || {
            let since = before.take().map_or(idle.map(|idle| 1_000 + idle), |_| Some(1_000));
            since.map(Duration::from_millis)
        })
    })
}

/// Five seconds of looks at the same shares.
fn five_seconds(crew: &mut Crew, working: usize, shares: &[u32]) -> usize {
    (0..50).fold(working, |working, _| crew.next(working, shares, unknown))
}

#[test]
fn a_further_thread_comes_only_when_all_are_busy() {
    assert_eq!(three_looks(1, &[969, 0, 0], Some(1000)), [1, 1, 1]);
    assert_eq!(three_looks(1, &[970, 0, 0], Some(1000)), [1, 1, 2]);
    assert_eq!(three_looks(2, &[1000, 969, 0], Some(1000)), [2, 2, 2]);
    assert_eq!(three_looks(2, &[970, 970, 0], Some(1000)), [2, 2, 3]);
    assert_eq!(three_looks(3, &[1000, 1000, 1000], Some(1000)), [3, 3, 3]);
}

#[test]
fn a_further_thread_comes_only_where_there_is_time_for_it() {
    assert_eq!(three_looks(1, &[1000, 0], Some(99)), [1, 1, 1]);
    assert_eq!(three_looks(1, &[1000, 0], Some(100)), [1, 1, 2]);
    assert_eq!(three_looks(1, &[1000, 0], None), [1, 1, 2]);
}

#[test]
fn a_moment_of_rest_begins_the_three_looks_anew() {
    let mut crew = Crew::new(1);
    let shares = [1000, 1000, 800, 1000, 1000, 1000];
    let crews = shares.map(|share| crew.next(1, &[share, 0], unknown));
    assert_eq!(crews, [1, 1, 1, 1, 1, 2]);
}

#[test]
fn one_goes_when_fewer_have_been_enough_for_five_seconds() {
    let mut crew = Crew::new(1);
    assert_eq!(five_seconds(&mut crew, 3, &[400, 300, 300]), 3);
    assert_eq!(five_seconds(&mut crew, 3, &[400, 300, 299]), 2);
    assert_eq!(five_seconds(&mut crew, 2, &[300, 199, 0]), 1);
    assert_eq!(five_seconds(&mut crew, 1, &[0, 0, 0]), 1);
}

#[test]
fn a_burst_begins_the_five_seconds_anew() {
    let mut crew = Crew::new(1);
    for _ in 0..10 {
        let working = (0..49).fold(2, |working, _| crew.next(working, &[0, 0], unknown));
        assert_eq!((working, crew.next(working, &[500, 0], unknown)), (2, 2));
    }
}

#[test]
fn there_are_never_fewer_than_the_least() {
    let mut crew = Crew::new(2);
    assert_eq!(five_seconds(&mut crew, 3, &[0, 0, 0]), 2);
    assert_eq!(five_seconds(&mut crew, 2, &[0, 0, 0]), 2);
}

/// A thread that takes clients no more may have kept busy ones.
#[test]
fn threads_that_take_no_clients_count() {
    let mut crew = Crew::new(1);
    assert_eq!(five_seconds(&mut crew, 2, &[100, 100, 400]), 2);
}

#[test]
fn a_share_is_told_once_per_window() {
    let begin = Instant::now();
    let after = |millis| begin + Duration::from_millis(millis);
    let mut usage = Usage::new(begin, Duration::from_secs(7));
    assert_eq!(usage.share(after(99), || panic!("too early")), None);
    assert_eq!(usage.share(after(200), || Some(Duration::from_millis(7_150))), Some(750));
    assert_eq!(usage.share(after(250), || panic!("too early")), None);
    assert_eq!(usage.share(after(300), || Some(Duration::from_millis(7_225))), Some(750));
    assert_eq!(usage.share(after(400), || None), Some(1000));
}
