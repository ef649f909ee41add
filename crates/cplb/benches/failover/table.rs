use std::fmt::Write;

use crate::case::{Case, Event};
use crate::common::pace::Pace;
use crate::common::speaker::Speaker;
use crate::figures::{Results, Summary};

/// One row for each interval and event, both speakers beside one another.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = format!(
        "Median / worst of {} runs; one figure where both are the same.\n\n\
        | adverts | event | silence, builtin | keepalived | held by two, builtin | keepalived | on the dead node, builtin | keepalived |\n\
        |---|---|---|---|---|---|---|---|\n",
        results.repeats()
    );
    for pace in Pace::ALL {
        for event in Event::ALL {
            let columns = columns(results, pace, event);
            if columns.iter().any(Option::is_some) {
                let cells =
                    columns.map(|column| column.map_or("–".to_owned(), |s| s.to_string()));
                // Writing to a string does not fail.
                let _written = writeln!(text, "| {pace} | {event} | {} |", cells.join(" | "));
            }
        }
    }
    text
}

fn columns(results: &Results, pace: Pace, event: Event) -> [Option<Summary>; 6] {
    let [builtin, keepalived] = Speaker::ALL.map(|speaker| Case { speaker, pace, event });
    [
        results.silence(builtin),
        results.silence(keepalived),
        results.by_two(builtin),
        results.by_two(keepalived),
        results.left(builtin),
        results.left(keepalived),
    ]
}
