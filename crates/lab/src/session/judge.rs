//! The figures of a phase, and their comparison with what was expected.

use std::ops::Range;
use std::time::Duration;

use super::Session;
use crate::report::{Judgement, PhaseReport};
use crate::scenario::{Expectation, Measure, Phase, Quantity};

/// A phase that has been played.
pub(super) struct Played {
    pub(super) window: Range<Duration>,
    /// When the first action was done; the phase's beginning if there is none.
    pub(super) first_action: Duration,
    /// Who held the virtual IP then.
    pub(super) holder: Option<usize>,
}

impl Session {
    pub(super) fn judge(&mut self, phase: &Phase, played: &Played) -> PhaseReport {
        let judgements = phase
            .expectations
            .iter()
            .map(|expectation| Judgement::of(expectation, self.measure(expectation, played)))
            .collect();
        let report = PhaseReport {
            name: phase.name.clone(),
            started: played.window.start,
            lasted: played.window.end - played.window.start,
            judgements,
            client: self.client.figures(&played.window),
        };
        self.phases.push(report.clone());
        report
    }

    fn measure(&self, expectation: &Expectation, played: &Played) -> Quantity {
        let end = played.window.end;
        let start = match expectation.after {
            Some(after) => (played.first_action + after).min(end),
            None => played.window.start,
        };
        let window = start..end;
        let holdings = self.observer.holdings();
        let figures = || self.client.figures(&window);
        match expectation.measure {
            Measure::Silence => Quantity::Time(figures().longest_silence),
            Measure::Connect => Quantity::Time(figures().slowest_connect),
            Measure::Handshake => Quantity::Time(figures().slowest_handshake),
            Measure::Failures => Quantity::Count(figures().failed()),
            Measure::FailedConnects => Quantity::Count(figures().failed_connects),
            Measure::FailedHandshakes => Quantity::Count(figures().failed_handshakes),
            Measure::SecondHolder => Quantity::Time(holdings.time_with(&window, |count| count > 1)),
            Measure::NoHolder => Quantity::Time(holdings.time_with(&window, |count| count == 0)),
            Measure::Holders => Quantity::Count(holdings.at(end).len() as u64),
            Measure::Moves => Quantity::Count(holdings.moves(&window)),
            Measure::Release => Quantity::Time(match played.holder {
                Some(holder) => {
                    let rest = end.saturating_sub(played.first_action);
                    holdings.released_after(holder, played.first_action).unwrap_or(rest)
                }
                None => Duration::ZERO,
            }),
        }
    }
}
