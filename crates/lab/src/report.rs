//! What happened and whether it was as expected: for people and for programs.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::client::Figures;
use crate::scenario::{Expectation, Quantity};

#[cfg(test)]
mod tests;

/// The outcome of a lab.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the scenario was played to its end and every expectation was met.
    pub passed: bool,
    /// Whether the scenario was played to its end.
    pub complete: bool,
    /// The scenario's name, if one was played.
    pub scenario: Option<String>,
    /// The phases that were played.
    pub phases: Vec<PhaseReport>,
    /// The client's figures over the whole time.
    pub client: Figures,
    /// Everything that happened, oldest first.
    pub timeline: Vec<Entry>,
}

/// The outcome of a phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseReport {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since the lab did.
    #[serde(rename = "started_s", serialize_with = "seconds")]
    pub started: Duration,
    /// How long it lasted, in seconds.
    #[serde(rename = "lasted_s", serialize_with = "seconds")]
    pub lasted: Duration,
    /// One for each expectation.
    pub judgements: Vec<Judgement>,
    /// What the client saw.
    pub client: Figures,
}

/// An expectation and the figure that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// As written in the scenario.
    pub expectation: String,
    /// The figure.
    pub measured: String,
    /// The figure as a number: microseconds, or a count.
    pub value: u64,
    /// Whether it is as expected.
    pub met: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// In seconds since the lab began.
    #[serde(rename = "at_s", serialize_with = "seconds")]
    pub at: Duration,
    /// To whom, such as `controller-1`.
    pub who: String,
    /// What.
    pub event: String,
    /// Why, if known.
    pub reason: Option<String>,
}

impl Judgement {
    /// Compares a figure with what was expected.
    #[must_use]
    pub fn of(expectation: &Expectation, measured: Quantity) -> Self {
        let value = match measured {
            Quantity::Time(time) => u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            Quantity::Count(count) => count,
        };
        Self {
            expectation: expectation.to_string(),
            measured: measured.to_string(),
            value,
            met: expectation.is_met_by(measured),
        }
    }
}

impl Verdict {
    /// 0 when [`Self::passed`], else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.passed)
    }

    /// One JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("\"{error}\""))
    }

    /// The judgements, phase by phase, and the client's sums; without the timeline.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for phase in &self.phases {
            text.push_str(&phase.to_string());
        }
        let client = &self.client;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} requests, {} answered, {} failed, longest silence {}",
            client.requests,
            client.answered,
            client.failed(),
            Quantity::Time(client.longest_silence),
        );
        for (replica, answers) in &client.replicas {
            let _ = writeln!(text, "  {answers:>7} by {replica}");
        }
        for (failure, count) in &client.failures {
            let _ = writeln!(text, "  {count:>7} failed: {failure}");
        }
        text.push_str(match (&self.scenario, self.complete, self.passed) {
            (None, ..) => "",
            (_, false, _) => "FAILED: the scenario was not played to its end\n",
            (_, true, true) => "PASSED\n",
            (_, true, false) => "FAILED\n",
        });
        text
    }
}

impl PhaseReport {
    /// A line for each judgement, and one for the client's failures if there were any.
    #[must_use]
    pub fn findings(&self) -> String {
        let mut text = String::new();
        for Judgement { expectation, measured, met, .. } in &self.judgements {
            let mark = if *met { "ok    " } else { "FAILED" };
            text.push_str(&format!("  {mark} expect {expectation}: measured {measured}\n"));
        }
        for (failure, count) in &self.client.failures {
            let requests = self.client.requests;
            text.push_str(&format!("         {count} of {requests} requests failed: {failure}\n"));
        }
        text
    }
}

impl fmt::Display for PhaseReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\n{}", self.name, self.findings())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, who, event, reason } = self;
        write!(formatter, "{:>10.6} {who:<17} {event}", at.as_secs_f64())?;
        match reason {
            Some(reason) => write!(formatter, " ({reason})"),
            None => Ok(()),
        }
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
