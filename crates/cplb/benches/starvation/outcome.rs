use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use lab::observer::Holdings;

use crate::case::Case;
use crate::common::speaker::Scheduling;

/// What became of one cluster under load. Nothing was done to it, so each take-over is one too many.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// As the kernel let it run.
    pub(crate) scheduling: Scheduling,
    /// How often a node became the holder, by the daemons' word; `None` when they say nothing.
    pub(crate) said: Option<u64>,
    /// How often a node got the virtual IP, by its kernel's word.
    pub(crate) got: usize,
    /// How often an advertisement came from another node than the one before.
    pub(crate) sources: usize,
    /// The longest time without an advertisement on the wire.
    pub(crate) gap: Duration,
    /// How long no kernel had the virtual IP.
    pub(crate) by_none: Duration,
    /// How long several had it.
    pub(crate) by_two: Duration,
}

/// An advertisement on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// Since the origin.
    pub(crate) at: Duration,
    pub(crate) source: IpAddr,
}

/// All outcomes, and under what they came about.
#[derive(Debug, Default)]
pub(crate) struct Results {
    outcomes: BTreeMap<Case, Outcome>,
    circumstances: String,
}

impl Outcome {
    /// From what the witnesses have seen until the end of the window.
    pub(crate) fn new(
        window: &Range<Duration>,
        scheduling: Scheduling,
        said: Option<u64>,
        holdings: &Holdings,
        heard: &[Heard],
    ) -> Self {
        let inside = |at: Duration| window.contains(&at);
        let got = holdings.changes().iter().filter(|change| change.held && inside(change.at));
        let heard: Vec<&Heard> = heard.iter().filter(|one| inside(one.at)).collect();
        Self {
            scheduling,
            said,
            got: got.count(),
            sources: heard.windows(2).filter(|two| two[0].source != two[1].source).count(),
            gap: longest_gap(window, &heard),
            by_none: holdings.time_with(window, |holders| holders == 0),
            by_two: holdings.time_with(window, |holders| holders > 1),
        }
    }

    /// Whether one node held the virtual IP all the time, by everybody's word.
    pub(crate) fn is_steady(&self) -> bool {
        let nothing = Duration::ZERO;
        let seen = (self.got, self.sources, self.by_none, self.by_two);
        self.said == Some(0) && seen == (0, 0, nothing, nothing)
    }
}

impl Results {
    pub(crate) fn add(&mut self, case: Case, outcome: Outcome) {
        self.outcomes.insert(case, outcome);
    }

    /// Notes under what the next outcomes come about, one line.
    pub(crate) fn note(&mut self, circumstance: &str) {
        // Writing to a string does not fail.
        let _written = writeln!(self.circumstances, "- {circumstance}");
    }

    pub(crate) fn circumstances(&self) -> &str {
        &self.circumstances
    }

    pub(crate) fn of(&self, case: Case) -> Option<&Outcome> {
        self.outcomes.get(&case)
    }
}

/// Silence at either end of the window counts.
fn longest_gap(window: &Range<Duration>, heard: &[&Heard]) -> Duration {
    let mut last = window.start;
    let mut longest = Duration::ZERO;
    for at in heard.iter().map(|one| one.at).chain([window.end]) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}
