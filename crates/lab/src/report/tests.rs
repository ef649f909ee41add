use super::*;
use crate::scenario;

fn verdict() -> Verdict {
    let scenario =
        scenario::parse("t", "at 1s kill holder\nexpect silence <= 50ms\nexpect failures = 0")
            .unwrap();
    let expectations = &scenario.phases[0].expectations;
    let judgements = vec![
        Judgement::of(&expectations[0], Quantity::Time(Duration::from_micros(20_400))),
        Judgement::of(&expectations[1], Quantity::Count(3)),
    ];
    Verdict {
        passed: false,
        complete: true,
        scenario: Some("t".to_owned()),
        phases: vec![PhaseReport {
            name: "the holder dies".to_owned(),
            started: Duration::from_millis(1500),
            lasted: Duration::from_secs(6),
            judgements,
            client: Figures::default(),
        }],
        client: Figures {
            requests: 10,
            answered: 7,
            failures: [("connect: refused".to_owned(), 3)].into(),
            longest_silence: Duration::from_millis(1200),
            replicas: [("controller-1".to_owned(), 7)].into(),
            ..Figures::default()
        },
        timeline: vec![Entry {
            at: Duration::from_micros(2_500_001),
            who: "controller-1".to_owned(),
            event: "kill".to_owned(),
            reason: Some("scenario".to_owned()),
        }],
    }
}

#[test]
fn summary_for_people() {
    assert_eq!(
        verdict().summary(),
        "the holder dies
  ok     expect silence <= 50.0 ms: measured 20.4 ms
  FAILED expect failures = 0: measured 3
10 requests, 7 answered, 3 failed, longest silence 1.20 s
        7 by controller-1
        3 failed: connect: refused
FAILED
"
    );
    assert_eq!(verdict().exit_code(), 1);
}

#[test]
fn json_for_programs() {
    let json: serde_json::Value = serde_json::from_str(&verdict().json()).unwrap();
    assert_eq!(json["phases"][0]["judgements"][0]["value"], 20_400);
    assert_eq!(json["phases"][0]["judgements"][1]["met"], false);
    assert_eq!(json["timeline"][0]["at_s"], 2.500_001);
    assert_eq!(json["client"]["longest_silence_us"], 1_200_000);
}

#[test]
fn a_line_of_the_timeline() {
    assert_eq!(verdict().timeline[0].to_string(), "  2.500001 controller-1      kill (scenario)");
}

#[test]
fn a_scenario_left_before_its_end_has_failed() {
    let left = Verdict { complete: false, phases: vec![], ..verdict() };
    let summary = left.summary();
    assert_eq!(summary.lines().last(), Some("FAILED: the scenario was not played to its end"));
    let played = Verdict { passed: true, scenario: None, ..verdict() };
    assert_eq!(played.exit_code(), 0);
    assert_eq!(played.summary().lines().last(), Some("        3 failed: connect: refused"));
}
