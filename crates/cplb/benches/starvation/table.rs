use std::fmt::Write;
use std::time::Duration;

use crate::case::{Case, Scenario};
use crate::common::span::Span;
use crate::outcome::{Outcome, Results};

/// One row for each cluster in each scenario.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = "\
        | adverts | load | speaker | scheduling | take-overs: daemons | kernels | wire | longest gap between adverts | held by none | by two |\n\
        |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for case in Case::all() {
        if let Some(outcome) = results.of(case) {
            // Writing to a string does not fail.
            let _written = writeln!(text, "{}", row(case, outcome));
        }
    }
    text
}

fn row(case: Case, outcome: &Outcome) -> String {
    let Outcome { scheduling, said, got, sources, gap, by_none, by_two } = outcome;
    let load = match case.scenario {
        Scenario::Everything => "everything",
        Scenario::Unread => "everything, logs unread",
        Scenario::Processors => "processors",
    };
    let said = said.map_or("not told".to_owned(), |said| said.to_string());
    let [gap, by_none, by_two] = [gap, by_none, by_two].map(|time: &Duration| Span::Lasted(*time));
    format!(
        "| {} | {load} | {} | {scheduling} | {said} | {got} | {sources} | {gap} | {by_none} | {by_two} |",
        case.scenario.pace(),
        case.speaker,
    )
}
