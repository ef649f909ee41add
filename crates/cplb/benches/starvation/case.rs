use std::fmt;
use std::time::Duration;

use crate::common::pace::Pace;
use crate::common::speaker::{Scheduling, Speaker};

/// One cluster in one scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) speaker: Speaker,
    /// What it asks for, not what the kernel allows.
    pub(crate) scheduling: Scheduling,
}

/// What the machine is put through while the clusters do their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// Adverts each 100 ms; every processor is busy, the proxies are flooded and the disk is kept
    /// syncing.
    Everything,
    /// The same, and nobody reads what the daemons log.
    Unread,
    /// Adverts each 20 ms; every processor is busy.
    Processors,
}

impl Case {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Scenario::ALL.into_iter().flat_map(Scenario::cases)
    }
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Everything, Self::Unread, Self::Processors];

    /// Whether proxies and disk have to do, beside the processors.
    pub(crate) const fn is_everything(self) -> bool {
        matches!(self, Self::Everything | Self::Unread)
    }

    /// All clusters that go through it together.
    pub(crate) fn cases(self) -> impl Iterator<Item = Case> {
        Speaker::ALL.into_iter().flat_map(move |speaker| {
            // First what each does unless told otherwise.
            let schedulings = match speaker {
                Speaker::Builtin => [Scheduling::Realtime, Scheduling::Ordinary],
                Speaker::Keepalived => [Scheduling::Ordinary, Scheduling::Realtime],
            };
            schedulings.map(move |scheduling| Case { scenario: self, speaker, scheduling })
        })
    }

    pub(crate) const fn pace(self) -> Pace {
        match self {
            Self::Everything | Self::Unread => Pace::Fast,
            Self::Processors => Pace::Fastest,
        }
    }

    pub(crate) const fn lasts(self) -> Duration {
        match self {
            Self::Everything | Self::Processors => Duration::from_secs(300),
            Self::Unread => Duration::from_secs(600),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, speaker, scheduling } = self;
        write!(formatter, "{scenario}/{speaker}/{scheduling}")
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Everything => "100ms-everything",
            Self::Unread => "100ms-unread",
            Self::Processors => "20ms-processors",
        })
    }
}
