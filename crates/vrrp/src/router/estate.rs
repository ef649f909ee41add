//! What a router leaves to the process that goes on in place of this one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::VirtualRouter;
use crate::Counters;
use crate::foreign::ForeignRouters;

/// Everything of a router that decides what it will do: another process on the same machine, whose
/// clock is the same, goes on from here by [`VirtualRouter::resume`], and nobody notices.
///
/// What is only told or counted stays behind. The password is in it: for the successor alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Estate(VirtualRouter);

impl VirtualRouter {
    /// What a successor needs to go on, after all actions are done. From then on this router must
    /// not speak any more, or two would.
    pub fn estate(&self) -> Estate {
        Estate(Self {
            foreign: ForeignRouters::refused_before(self.foreign.last_refused()),
            counters: Counters::default(),
            actions: VecDeque::new(),
            ..self.clone()
        })
    }

    /// Goes on where another process has stopped, with its settings, its state and its timers;
    /// [`Self::reconfigure`] then brings other settings. The addresses are where they were: no
    /// action says so.
    ///
    /// Time has gone on meanwhile: an Active router whose heirs have given it up notices by itself,
    /// with the first thing that happens.
    pub fn resume(estate: Estate) -> Self {
        estate.0
    }
}
