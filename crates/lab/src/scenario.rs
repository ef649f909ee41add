//! A small script language for faults and what is expected of the cluster under them.
//!
//! One statement per line, `#` begins a comment:
//!
//! ```text
//! phase the holder is killed      # begins with a steady cluster; its figures are its own
//! at 1s kill holder               # times count from the beginning of the phase
//! duration 8s                     # of the phase
//! expect silence <= 3.3s
//! expect second holder <= 0s after 3s
//! ```
//!
//! Verbs: `start`, `stop` (SIGTERM), `kill` (SIGKILL), `freeze` (SIGSTOP), `thaw`, `cut`, `heal`.
//! Targets: `controller N|holder|standby`, `apiserver N|of holder|of standby`, `node N|holder|standby`, `all`;
//! `holder` and `standby` alone mean the controller there, or the node for `cut` and `heal`.

use std::fmt;
use std::time::Duration;

mod expectation;
mod parse;

#[cfg(test)]
mod tests;

pub use expectation::{Comparison, Expectation, Measure, Quantity};
pub use parse::{ParseError, parse};

/// The scenarios that come with the lab: name and text.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("failover", include_str!("../scenarios/failover.txt")),
    ("smoke", include_str!("../scenarios/smoke.txt")),
];

/// A script, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Its name or file.
    pub name: String,
    /// Run one after the other, each from a steady cluster.
    pub phases: Vec<Phase>,
}

/// Actions that belong together, and what is expected of the cluster meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phase {
    /// As written behind `phase`.
    pub name: String,
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// How long to measure.
    pub duration: Duration,
    /// Judged when the phase is over.
    pub expectations: Vec<Expectation>,
}

/// An action and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Since the beginning of the phase.
    pub at: Duration,
    /// What to do.
    pub action: Action,
}

/// Something done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// What is done.
    pub verb: Verb,
    /// To whom.
    pub target: Target,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Start a process that does not run.
    Start,
    /// Ask it to end: SIGTERM.
    Stop,
    /// End it without a chance to tidy up: SIGKILL.
    Kill,
    /// Let it hang: SIGSTOP.
    Freeze,
    /// Let it go on: SIGCONT.
    Thaw,
    /// Take the node's port of the switch down.
    Cut,
    /// Bring the port up again.
    Heal,
}

/// To whom something can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A controller process.
    Controller(Which),
    /// An apiserver process.
    Apiserver(Which),
    /// A node's port of the switch.
    Node(Which),
    /// Everything the verb applies to.
    All,
}

/// One node of the cluster, found when the action is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// By number, the first is 1.
    Number(usize),
    /// Who holds the virtual IP.
    Holder,
    /// The first who does not.
    Standby,
}

impl Scenario {
    /// The built-in scenario of that name.
    ///
    /// # Errors
    /// `None` when there is no such name; the text of a built-in scenario always parses.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Result<Self, ParseError>> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(parse(name, text))
    }
}

impl Verb {
    const ALL: [(&str, Self); 7] = [
        ("start", Self::Start),
        ("stop", Self::Stop),
        ("kill", Self::Kill),
        ("freeze", Self::Freeze),
        ("thaw", Self::Thaw),
        ("cut", Self::Cut),
        ("heal", Self::Heal),
    ];

    /// Whether it acts on a node's port of the switch rather than on a process.
    #[must_use]
    pub const fn is_for_nodes(self) -> bool {
        matches!(self, Self::Cut | Self::Heal)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, verb)| verb == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(which) => write!(formatter, "controller {which}"),
            Self::Apiserver(Which::Number(number)) => write!(formatter, "apiserver {number}"),
            Self::Apiserver(which) => write!(formatter, "apiserver of {which}"),
            Self::Node(which) => write!(formatter, "node {which}"),
            Self::All => formatter.write_str("all"),
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Holder => formatter.write_str("holder"),
            Self::Standby => formatter.write_str("standby"),
        }
    }
}
