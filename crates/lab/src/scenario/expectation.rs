//! What a scenario expects, and how a measured figure is compared with it.

use std::fmt;
use std::time::Duration;

/// A figure, a bound, and which side of it is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// What is measured.
    pub measure: Measure,
    /// Only what happens later than this after the phase's first action counts.
    pub after: Option<Duration>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: Quantity,
}

/// A figure of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// The longest time the client had no answer.
    Silence,
    /// The slowest successful TCP connect.
    Connect,
    /// The slowest successful TLS handshake.
    Handshake,
    /// Requests that failed, whatever the reason.
    Failures,
    /// Requests whose TCP connection failed.
    FailedConnects,
    /// Requests whose TLS handshake failed.
    FailedHandshakes,
    /// How long more than one node held the virtual IP, in total.
    SecondHolder,
    /// How long no node held it, in total.
    NoHolder,
    /// How many nodes hold it when the phase ends.
    Holders,
    /// How often it came to a node that was not the last to take it.
    Moves,
    /// How long the node that held it at the first action went on holding it; the phase's rest if it never let go.
    Release,
}

/// How a figure is compared with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
}

/// A figure: a time or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Quantity {
    /// A length of time.
    Time(Duration),
    /// A count.
    Count(u64),
}

impl Expectation {
    /// Whether `measured` is as expected. A time is never as expected of a count.
    #[must_use]
    pub fn is_met_by(&self, measured: Quantity) -> bool {
        match self.comparison {
            Comparison::AtMost => measured <= self.bound,
            Comparison::Equal => measured == self.bound,
            Comparison::AtLeast => measured >= self.bound,
        }
    }
}

impl Measure {
    pub(super) const ALL: [(&str, Self); 11] = [
        ("silence", Self::Silence),
        ("connect", Self::Connect),
        ("handshake", Self::Handshake),
        ("failures", Self::Failures),
        ("failed connects", Self::FailedConnects),
        ("failed handshakes", Self::FailedHandshakes),
        ("second holder", Self::SecondHolder),
        ("no holder", Self::NoHolder),
        ("holders", Self::Holders),
        ("moves", Self::Moves),
        ("release", Self::Release),
    ];

    /// Whether the figure is a time; else it is a count.
    #[must_use]
    pub const fn is_time(self) -> bool {
        match self {
            Self::Silence
            | Self::Connect
            | Self::Handshake
            | Self::SecondHolder
            | Self::NoHolder
            | Self::Release => true,
            Self::Failures
            | Self::FailedConnects
            | Self::FailedHandshakes
            | Self::Holders
            | Self::Moves => false,
        }
    }
}

impl Comparison {
    pub(super) const ALL: [(&str, Self); 3] =
        [("<=", Self::AtMost), ("=", Self::Equal), (">=", Self::AtLeast)];
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Self::ALL.iter().find(|(_, measure)| measure == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::ALL.iter().find(|(_, one)| one == self).map_or("", |(sign, _)| sign);
        formatter.write_str(sign)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(formatter, "{count}"),
            Self::Time(time) if *time >= Duration::from_secs(1) => {
                write!(formatter, "{:.2} s", time.as_secs_f64())
            }
            Self::Time(time) => write!(formatter, "{:.1} ms", time.as_secs_f64() * 1000.0),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.measure, self.comparison, self.bound)?;
        match self.after {
            Some(after) => write!(formatter, " after {}", Quantity::Time(after)),
            None => Ok(()),
        }
    }
}
