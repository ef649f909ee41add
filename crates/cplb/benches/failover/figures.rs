use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::case::Case;
use crate::common::span::Span;

/// What one event led to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The longest time in which the client got no answer.
    pub(crate) silence: Duration,
    /// How long several nodes had the virtual IP.
    pub(crate) by_two: Span,
    /// When the virtual IP was gone from the node whose speaker died.
    pub(crate) left: Option<Span>,
}

/// The median and the worst of several times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) median: Span,
    pub(crate) worst: Span,
}

/// All samples of all cases.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<Case, Vec<Sample>>);

impl Results {
    pub(crate) fn add(&mut self, case: Case, sample: Sample) {
        self.0.entry(case).or_default().push(sample);
    }

    /// The number of samples of the case that has most of them.
    pub(crate) fn repeats(&self) -> usize {
        self.0.values().map(Vec::len).max().unwrap_or(0)
    }

    pub(crate) fn silence(&self, case: Case) -> Option<Summary> {
        self.summary(case, |sample| Some(Span::Lasted(sample.silence)))
    }

    pub(crate) fn by_two(&self, case: Case) -> Option<Summary> {
        self.summary(case, |sample| Some(sample.by_two))
    }

    pub(crate) fn left(&self, case: Case) -> Option<Summary> {
        self.summary(case, |sample| sample.left)
    }

    /// `None` when nothing was measured.
    fn summary(&self, case: Case, what: impl Fn(&Sample) -> Option<Span>) -> Option<Summary> {
        let mut spans: Vec<Span> = self.0.get(&case)?.iter().filter_map(what).collect();
        spans.sort_unstable();
        // Of an even number the greater one in the middle.
        Some(Summary { median: *spans.get(spans.len() / 2)?, worst: *spans.last()? })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { silence, by_two, left } = self;
        write!(formatter, "silence {}, held by two {by_two}", Span::Lasted(*silence))?;
        match left {
            Some(left) => write!(formatter, ", on the dead node {left}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.median == self.worst {
            return write!(formatter, "{}", self.worst);
        }
        write!(formatter, "{} / {}", self.median, self.worst)
    }
}
