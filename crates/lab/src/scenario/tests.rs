use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn only_phase(text: &str) -> Phase {
    let mut scenario = parse("t", text).unwrap();
    assert_eq!(scenario.phases.len(), 1);
    scenario.phases.remove(0)
}

fn error(text: &str) -> String {
    parse("t", text).unwrap_err().to_string()
}

fn action(text: &str) -> Action {
    only_phase(text).steps[0].action
}

#[test]
fn a_whole_phase() {
    let phase = only_phase(
        "
phase the holder dies   # and so on
at 2.5s heal all
at 500ms kill holder
duration 1m
expect second holder <= 0s after 3s
expect failed connects = 0
",
    );
    let kill = Action { verb: Verb::Kill, target: Target::Controller(Which::Holder) };
    let heal = Action { verb: Verb::Heal, target: Target::All };
    let expected = Phase {
        name: "the holder dies".to_owned(),
        steps: vec![Step { at: ms(500), action: kill }, Step { at: ms(2500), action: heal }],
        duration: ms(60_000),
        expectations: vec![
            Expectation {
                measure: Measure::SecondHolder,
                after: Some(ms(3000)),
                comparison: Comparison::AtMost,
                bound: Quantity::Time(ms(0)),
            },
            Expectation {
                measure: Measure::FailedConnects,
                after: None,
                comparison: Comparison::Equal,
                bound: Quantity::Count(0),
            },
        ],
    };
    assert_eq!(phase, expected);
}

#[test]
fn targets() {
    let freeze = |target| Action { verb: Verb::Freeze, target };
    assert_eq!(action("freeze apiserver 2"), freeze(Target::Apiserver(Which::Number(2))));
    assert_eq!(action("freeze apiserver of holder"), freeze(Target::Apiserver(Which::Holder)));
    assert_eq!(action("freeze standby"), freeze(Target::Controller(Which::Standby)));
    assert_eq!(action("freeze controller 1"), freeze(Target::Controller(Which::Number(1))));
    let cut = Action { verb: Verb::Cut, target: Target::Node(Which::Holder) };
    assert_eq!(action("cut holder"), cut);
    assert_eq!(action("cut node holder"), cut);
}

#[test]
fn a_phase_without_duration_goes_on_for_five_seconds() {
    assert_eq!(only_phase("at 2s stop holder").duration, ms(7000));
    assert_eq!(only_phase("at 2s stop holder").name, "t");
}

#[test]
fn errors_have_place_and_hint() {
    assert_eq!(
        error("phase one\n  at 1s stp holder"),
        "t:2:9: `stp` is no action\n  hint: a line begins with phase, at TIME, duration, expect, or one of start, stop, kill, freeze, thaw, cut, heal"
    );
    assert_eq!(
        error("at 1 stop holder"),
        "t:1:4: `1` is no time\n  hint: a number and a unit, such as 50ms, 3.3s or 2m, at most a day"
    );
    assert_eq!(
        error("ä kill"),
        "t:1:1: `ä` is no action\n  hint: a line begins with phase, at TIME, duration, expect, or one of start, stop, kill, freeze, thaw, cut, heal"
    );
    assert_eq!(
        error("kill   # whom?"),
        "t:1:5: a target is missing\n  hint: for example: kill controller holder"
    );
    assert_eq!(
        error("cut apiserver 1"),
        "t:1:5: `cut` cannot be done to apiserver 1\n  hint: cut and heal take a node, the other actions a controller or an apiserver"
    );
    assert_eq!(
        error("kill controller 0"),
        "t:1:17: `0` is no controller\n  hint: a number from 1, holder or standby"
    );
    assert_eq!(
        error("expect silence < 5ms"),
        "t:1:16: `<` is no comparison\n  hint: one of <=, =, >="
    );
    assert_eq!(
        error("expect failures = 5ms"),
        "t:1:19: `5ms` is no number\n  hint: this figure is a whole number"
    );
    assert_eq!(
        error("stop holder now"),
        "t:1:13: `now` is too much\n  hint: one statement per line; a comment begins with #"
    );
    assert_eq!(error("phase"), "t:1:1: the phase has no name\n  hint: phase NAME");
    assert_eq!(
        error("# nothing\n"),
        "t:1:1: the scenario does nothing\n  hint: write for example: at 1s stop holder"
    );
}

#[test]
fn times_out_of_range_are_errors() {
    for time in ["-1s", "1e300s", "NaNs", "infs", "s", "25h", "2000m"] {
        assert!(error(&format!("duration {time}")).contains("is no time"), "{time}");
    }
}

#[test]
fn built_in_scenarios_are_right_and_short() {
    for (name, _) in BUILT_IN {
        let scenario = Scenario::built_in(name).unwrap().unwrap();
        let total: Duration = scenario.phases.iter().map(|phase| phase.duration).sum();
        assert!(total <= ms(60_000), "{name} lasts {total:?}");
        assert!(scenario.phases.iter().all(|phase| !phase.expectations.is_empty()), "{name}");
    }
    assert_eq!(Scenario::built_in("nonesuch"), None);
}

#[test]
fn comparisons() {
    let met = |text: &str, measured| only_phase(text).expectations[0].is_met_by(measured);
    assert!(met("expect silence <= 50ms", Quantity::Time(ms(50))));
    assert!(!met("expect silence <= 50ms", Quantity::Time(ms(51))));
    assert!(met("expect holders = 1", Quantity::Count(1)));
    assert!(!met("expect holders = 1", Quantity::Count(2)));
    assert!(met("expect moves >= 1", Quantity::Count(2)));
    assert!(!met("expect moves >= 1", Quantity::Count(0)));
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic(text in "(at|expect|phase|kill|cut|of|apiserver|holder|[0-9.]{1,9}(s|ms|)|#|<=|=|\\PC| |\n){0,30}") {
        let _ = parse("t", &text);
    }
}
