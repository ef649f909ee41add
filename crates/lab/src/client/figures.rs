//! What the client's records say about a window of time. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

#[cfg(test)]
mod tests;

/// One request, finished. Times count from the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it began.
    pub started: Duration,
    /// When it was answered or given up.
    pub finished: Duration,
    /// How long the TCP connect took, if it succeeded.
    pub connect: Option<Duration>,
    /// How long the TLS handshake took, if it succeeded.
    pub handshake: Option<Duration>,
    /// The replica that answered, or what went wrong.
    pub outcome: Result<String, Failure>,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The TCP connection was refused, reset or not made in time.
    #[error("connect: {0}")]
    Connect(String),
    /// The TLS handshake failed or was not done in time.
    #[error("handshake: {0}")]
    Handshake(String),
    /// The connection was there, the answer was not, or was none.
    #[error("request: {0}")]
    Request(String),
}

/// The sums of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Requests begun.
    pub requests: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Of these, how many already at the TCP connect.
    pub failed_connects: u64,
    /// Of these, how many at the TLS handshake.
    pub failed_handshakes: u64,
    /// The longest time without an answer, in microseconds.
    #[serde(rename = "longest_silence_us", serialize_with = "microseconds")]
    pub longest_silence: Duration,
    /// When that began, since the origin, in microseconds.
    #[serde(rename = "longest_silence_at_us", serialize_with = "microseconds")]
    pub longest_silence_at: Duration,
    /// The slowest TCP connect that succeeded, in microseconds.
    #[serde(rename = "slowest_connect_us", serialize_with = "microseconds")]
    pub slowest_connect: Duration,
    /// The slowest TLS handshake that succeeded, in microseconds.
    #[serde(rename = "slowest_handshake_us", serialize_with = "microseconds")]
    pub slowest_handshake: Duration,
    /// The middle of the answered requests' whole times, in microseconds.
    #[serde(rename = "median_us", serialize_with = "microseconds")]
    pub median: Duration,
    /// Answers per replica.
    pub replicas: BTreeMap<String, u64>,
}

impl Figures {
    /// Sums up the requests begun within the window. Silence is the longest gap between answers that arrived within
    /// it, its beginning and its end counting as answers: a window without any answer is one silence.
    pub fn over<'a>(records: impl Iterator<Item = &'a Record>, window: &Range<Duration>) -> Self {
        let mut figures = Self::default();
        let mut answers = vec![window.start, window.end];
        let mut totals = Vec::new();
        for record in records {
            if record.outcome.is_ok() && window.contains(&record.finished) {
                answers.push(record.finished);
            }
            if window.contains(&record.started) {
                figures.add(record);
                if record.outcome.is_ok() {
                    totals.push(record.finished.saturating_sub(record.started));
                }
            }
        }
        answers.sort_unstable();
        for pair in answers.windows(2) {
            let gap = pair[1].saturating_sub(pair[0]);
            if gap > figures.longest_silence {
                (figures.longest_silence, figures.longest_silence_at) = (gap, pair[0]);
            }
        }
        totals.sort_unstable();
        figures.median = totals.get(totals.len() / 2).copied().unwrap_or_default();
        figures
    }

    /// How many requests failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn add(&mut self, record: &Record) {
        self.requests += 1;
        self.slowest_connect = self.slowest_connect.max(record.connect.unwrap_or_default());
        self.slowest_handshake = self.slowest_handshake.max(record.handshake.unwrap_or_default());
        let failure = match &record.outcome {
            Ok(replica) => {
                self.answered += 1;
                *self.replicas.entry(replica.clone()).or_default() += 1;
                return;
            }
            Err(failure) => failure,
        };
        *self.failures.entry(failure.to_string()).or_default() += 1;
        match failure {
            Failure::Connect(_) => self.failed_connects += 1,
            Failure::Handshake(_) => self.failed_handshakes += 1,
            Failure::Request(_) => {}
        }
    }
}

fn microseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
