use std::fmt;
use std::time::Duration;

use crate::common::pace::Pace;
use crate::common::speaker::Speaker;

/// One line of measurements: who speaks, how often, and what happens to the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) speaker: Speaker,
    pub(crate) pace: Pace,
    pub(crate) event: Event,
}

/// What happens to the holder of the virtual IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// Nothing: what is seen then is the noise of the machine.
    Idle,
    /// Its cable is cut; it loses the carrier.
    LinkCut,
    /// Its processes are killed.
    Kill,
    /// Its processes hang.
    Freeze,
    /// It is told to stop (SIGTERM).
    Stop,
    /// Once stopped, it starts again while another one holds.
    Rejoin,
}

impl Case {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Speaker::ALL.into_iter().flat_map(|speaker| {
            Pace::ALL.into_iter().flat_map(move |pace| {
                Event::ALL.into_iter().map(move |event| Self { speaker, pace, event })
            })
        })
    }

    pub(crate) fn share_a_cluster(&self, other: &Self) -> bool {
        (self.speaker, self.pace) == (other.speaker, other.pace)
    }
}

impl Event {
    pub(crate) const ALL: [Self; 6] =
        [Self::Idle, Self::LinkCut, Self::Kill, Self::Freeze, Self::Stop, Self::Rejoin];

    /// How long its consequences are watched.
    pub(crate) const fn watched(self) -> Duration {
        match self {
            Self::LinkCut | Self::Kill | Self::Freeze => Duration::from_secs(15),
            // Longer than any start and any hand-over at an interval of 1 s.
            Self::Idle | Self::Stop | Self::Rejoin => Duration::from_secs(8),
        }
    }

    /// Whether the holder's processes are gone or hang without having let go of anything.
    pub(crate) const fn is_death(self) -> bool {
        matches!(self, Self::Kill | Self::Freeze)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { speaker, pace, event } = self;
        let event = event.to_string().replace(' ', "-").to_lowercase();
        write!(formatter, "{speaker}/{}/{event}", pace.to_string().replace(' ', ""))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Idle => "idle",
            Self::LinkCut => "link cut",
            Self::Kill => "SIGKILL",
            Self::Freeze => "SIGSTOP",
            Self::Stop => "planned stop",
            Self::Rejoin => "rejoin",
        })
    }
}
