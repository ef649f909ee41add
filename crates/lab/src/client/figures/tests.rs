use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn answered(started: u64, finished: u64, replica: &str) -> Record {
    Record {
        started: ms(started),
        finished: ms(finished),
        connect: Some(ms(1)),
        handshake: Some(ms(finished - started - 1)),
        outcome: Ok(replica.to_owned()),
    }
}

fn failed(started: u64, finished: u64, failure: Failure) -> Record {
    let (started, finished) = (ms(started), ms(finished));
    Record { started, finished, connect: None, handshake: None, outcome: Err(failure) }
}

#[test]
fn sums() {
    let refused = || Failure::Connect("refused".to_owned());
    let records = [
        answered(90, 99, "one"),
        answered(100, 103, "one"),
        answered(105, 110, "two"),
        failed(110, 111, refused()),
        failed(115, 116, refused()),
        failed(120, 420, Failure::Handshake("no answer".to_owned())),
        answered(125, 133, "two"),
        answered(200, 203, "two"),
    ];
    let figures = Figures::over(records.iter(), &(ms(100)..ms(200)));
    assert_eq!(figures.requests, 6);
    assert_eq!(figures.answered, 3);
    assert_eq!(figures.failed(), 3);
    assert_eq!(figures.failures["connect: refused"], 2);
    assert_eq!(figures.failed_connects, 2);
    assert_eq!(figures.failed_handshakes, 1);
    assert_eq!(figures.replicas, [("one".to_owned(), 1), ("two".to_owned(), 2)].into());
    assert_eq!(figures.slowest_handshake, ms(7));
    assert_eq!(figures.median, ms(5));
}

#[test]
fn silence_is_the_longest_gap_between_answers() {
    let records = [answered(0, 5, "one"), answered(5, 10, "one"), answered(55, 60, "one")];
    let figures = Figures::over(records.iter(), &(ms(0)..ms(70)));
    assert_eq!(figures.longest_silence, ms(50));
    assert_eq!(figures.longest_silence_at, ms(10));
}

#[test]
fn silence_lasts_to_the_end_when_nobody_answers_any_more() {
    let records = [answered(0, 5, "one")];
    let figures = Figures::over(records.iter(), &(ms(0)..ms(1000)));
    assert_eq!(figures.longest_silence, ms(995));
}

#[test]
fn a_late_answer_ends_a_silence_of_the_window_it_arrives_in() {
    let records = [answered(10, 150, "one"), answered(100, 160, "one")];
    let figures = Figures::over(records.iter(), &(ms(100)..ms(200)));
    assert_eq!(figures.requests, 1);
    assert_eq!(figures.longest_silence, ms(50));
    assert_eq!(figures.longest_silence_at, ms(100));
}
