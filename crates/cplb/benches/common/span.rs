use std::fmt;
use std::time::Duration;

/// A time that may not have ended while it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Span {
    Lasted(Duration),
    Endless,
}

impl Span {
    pub(crate) fn lengthened(self, by: Duration) -> Self {
        match self {
            Self::Lasted(time) => Self::Lasted(time + by),
            Self::Endless => Self::Endless,
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endless => formatter.write_str("for ever"),
            Self::Lasted(time) if time.is_zero() => formatter.write_str("0"),
            Self::Lasted(time) if *time < Duration::from_millis(1) => formatter.write_str("< 1 ms"),
            Self::Lasted(time) if *time < Duration::from_secs(1) => {
                write!(formatter, "{:.0} ms", time.as_secs_f64() * 1e3)
            }
            Self::Lasted(time) => write!(formatter, "{:.2} s", time.as_secs_f64()),
        }
    }
}
