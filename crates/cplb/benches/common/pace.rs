use std::fmt;
use std::time::Duration;

/// How often the holder advertises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// Each second in version 2, as k0s configures keepalived.
    Second,
    /// Each 100 ms in version 3.
    Fast,
    /// Each 20 ms in version 3.
    Fastest,
}

impl Pace {
    pub(crate) const ALL: [Self; 3] = [Self::Second, Self::Fast, Self::Fastest];

    pub(crate) const fn interval(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Fast => Duration::from_millis(100),
            Self::Fastest => Duration::from_millis(20),
        }
    }

    pub(crate) const fn version(self) -> u8 {
        match self {
            Self::Second => 2,
            Self::Fast | Self::Fastest => 3,
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Second => "1 s",
            Self::Fast => "100 ms",
            Self::Fastest => "20 ms",
        })
    }
}
