use std::fmt::Write;

use crate::case::Case;
use crate::common::speaker::{Scheduling, Speaker};
use crate::outcome::Results;

/// cplb's own speaker keeps the virtual IP where it is, given real-time scheduling. Without it
/// nothing is promised.
pub(crate) fn judge(results: &Results) -> String {
    let judged = Case::all()
        .filter(|case| (case.speaker, case.scheduling) == (Speaker::Builtin, Scheduling::Realtime));
    let mut text = String::new();
    for case in judged {
        let Some(outcome) = results.of(case) else { continue };
        let verdict = match outcome.scheduling {
            Scheduling::Ordinary => "not judged, the kernel refuses real-time scheduling",
            Scheduling::Realtime if outcome.is_steady() => "reached",
            Scheduling::Realtime => "missed",
        };
        // Writing to a string does not fail.
        let _written = writeln!(text, "No take-over, {case}: {verdict}.");
    }
    text
}
