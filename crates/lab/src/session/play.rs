//! A scenario, played step by step so that whoever shows it stays in charge of the loop.

use std::collections::VecDeque;
use std::time::Duration;

use super::judge::Played;
use super::{STEADY_LIMIT, Session};
use crate::Error;
use crate::report::PhaseReport;
use crate::scenario::{Phase, Scenario};

/// Where a scenario is.
pub(crate) struct Play {
    waiting: VecDeque<Phase>,
    stage: Stage,
}

enum Stage {
    /// Restoring, waiting for a steady cluster; then the phase that was played is judged.
    Settling {
        since: Duration,
        judge: Option<(Phase, Played)>,
    },
    Playing {
        phase: Phase,
        started: Duration,
        done: usize,
        played: Option<(Duration, Option<usize>)>,
    },
    Over,
}

/// What one step of the play has brought about.
pub(crate) enum Step {
    /// Nothing to tell.
    Nothing,
    /// A phase has begun.
    Begun(String),
    /// A phase has been judged.
    Judged(Box<PhaseReport>),
    /// The last phase has been judged.
    Over,
}

impl Play {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let stage = Stage::Settling { since: Duration::ZERO, judge: None };
        Self { waiting: scenario.phases.into(), stage }
    }

    /// Does what is due now. Call it every few milliseconds.
    ///
    /// # Errors
    /// When the cluster does not become steady, or an action cannot be done.
    pub(crate) fn step(&mut self, session: &mut Session) -> Result<Step, Error> {
        let now = session.now();
        match &mut self.stage {
            Stage::Settling { since, judge } => {
                let since = *since;
                session.restore()?;
                let missing = session.missing().or_else(|| {
                    let (_, played) = judge.as_ref()?;
                    let finished = session.client.has_finished(played.window.end);
                    (!finished).then(|| "requests are under way".to_owned())
                });
                if let Some(missing) = missing {
                    if now < since + STEADY_LIMIT {
                        return Ok(Step::Nothing);
                    }
                    let logs = session.logs();
                    return Err(Error::NotSteady { limit: STEADY_LIMIT, missing, logs });
                }
                if let Some((phase, played)) = judge.take() {
                    return Ok(Step::Judged(Box::new(session.judge(&phase, &played))));
                }
                let Some(phase) = self.waiting.pop_front() else {
                    self.stage = Stage::Over;
                    return Ok(Step::Over);
                };
                let name = phase.name.clone();
                self.stage = Stage::Playing { phase, started: now, done: 0, played: None };
                Ok(Step::Begun(name))
            }
            Stage::Playing { phase, started, done, played } => {
                while let Some(step) = phase.steps.get(*done)
                    && now >= *started + step.at
                {
                    let holder = session.holders().first().copied();
                    played.get_or_insert_with(|| (session.now(), holder));
                    session.apply(step.action, "scenario")?;
                    *done += 1;
                }
                if now < *started + phase.duration {
                    return Ok(Step::Nothing);
                }
                let (first_action, holder) = played.take().unwrap_or((*started, None));
                let played = Played { window: *started..now, first_action, holder };
                let judge = Some((std::mem::take(phase), played));
                self.stage = Stage::Settling { since: now, judge };
                Ok(Step::Nothing)
            }
            Stage::Over => Ok(Step::Over),
        }
    }
}
