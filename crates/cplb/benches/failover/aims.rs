use std::fmt::Write;
use std::time::Duration;

use crate::case::{Case, Event};
use crate::common::pace::Pace;
use crate::common::span::Span;
use crate::common::speaker::Speaker;
use crate::figures::Results;

/// A planned stop is at most this silence, at every interval.
const PLANNED: Span = Span::Lasted(Duration::from_millis(20));

/// A dead node has lost the virtual IP by then.
const DEAD_MAN: Span = Span::Lasted(Duration::from_secs(3));

/// What the client, which asks each millisecond, cannot tell apart.
const ALIKE: Duration = Duration::from_millis(2);

/// What cplb's own speaker is to reach, and where it does not. Cases that were not measured are
/// passed over.
pub(crate) fn judge(results: &Results) -> String {
    let missed: Vec<String> =
        Pace::ALL.into_iter().flat_map(|pace| missed_at(results, pace)).collect();
    if missed.is_empty() {
        return "Aims: none is missed.\n".to_owned();
    }
    let mut text = "Aims missed:\n\n".to_owned();
    for one in missed {
        // Writing to a string does not fail.
        let _written = writeln!(text, "- {one}");
    }
    text
}

fn missed_at(results: &Results, pace: Pace) -> Vec<String> {
    let builtin = |event| Case { speaker: Speaker::Builtin, pace, event };
    let mut missed = Vec::new();

    let planned = results.silence(builtin(Event::Stop));
    if let Some(planned) = planned.filter(|planned| planned.worst > PLANNED) {
        missed.push(format!("adverts each {pace}, planned stop: silence {planned}, not {PLANNED}"));
    }

    let keepalived = Case { speaker: Speaker::Keepalived, ..builtin(Event::LinkCut) };
    let crashes = (results.silence(builtin(Event::LinkCut)), results.silence(keepalived));
    if let (Some(ours), Some(theirs)) = crashes
        && ours.median > theirs.median.lengthened(ALIKE)
    {
        missed
            .push(format!("adverts each {pace}, link cut: silence {ours}, keepalived's {theirs}"));
    }

    for event in Event::ALL {
        let by_two = results.by_two(builtin(event)).filter(|by_two| by_two.worst > DEAD_MAN);
        if let Some(by_two) = by_two {
            missed.push(format!("adverts each {pace}, {event}: held by two for {by_two}"));
        }
    }
    missed
}
