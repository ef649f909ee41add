//! What a router leaves to the process that goes on in place of this one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{ActiveRouter, Lead, Rival, Timers, VirtualRouter};
use crate::foreign::ForeignRouters;
use crate::{Checksum, Counters, Instant, Peers, Settings, State};

/// Everything of a router that decides what it will do: another process on the same machine, whose
/// clock is the same, goes on from here by [`VirtualRouter::resume`], and nobody notices.
///
/// What is only told or counted stays behind. The password is in it: for the successor alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Estate {
    settings: Settings,
    state: State,
    since: Instant,
    ready: bool,
    tracking: i16,
    leaving: bool,
    link_up: bool,
    lead: Option<Lead>,
    heard_anyone: bool,
    begins: Option<Instant>,
    active: Option<ActiveRouter>,
    preempts: Option<Instant>,
    rival: Option<Rival>,
    demoted: bool,
    learned: Checksum,
    timers: Timers,
    peers: Peers,
    last_refused: Option<Instant>,
}

impl Estate {
    /// The settings that it was left with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The state that it was left in.
    pub const fn state(&self) -> State {
        self.state
    }
}

impl VirtualRouter {
    /// What a successor needs to go on, after all actions are done. From then on this router must
    /// not speak any more, or two would.
    pub fn estate(&self) -> Estate {
        // All fields are named, so that a new one cannot be forgotten here.
        let Self {
            settings,
            state,
            since,
            ready,
            tracking,
            leaving,
            link_up,
            lead,
            heard_anyone,
            begins,
            active,
            preempts,
            rival,
            demoted,
            learned,
            timers,
            peers,
            foreign,
            counters: _,
            actions: _,
        } = self;
        Estate {
            settings: settings.clone(),
            state: *state,
            since: *since,
            ready: *ready,
            tracking: *tracking,
            leaving: *leaving,
            link_up: *link_up,
            lead: *lead,
            heard_anyone: *heard_anyone,
            begins: *begins,
            active: *active,
            preempts: *preempts,
            rival: *rival,
            demoted: *demoted,
            learned: *learned,
            timers: *timers,
            peers: peers.clone(),
            last_refused: foreign.last_refused(),
        }
    }

    /// Goes on where another process has stopped, with its settings, its state and its timers;
    /// [`Self::reconfigure`] then brings other settings. The addresses are where they were: no
    /// action says so.
    ///
    /// Time has gone on meanwhile: an Active router whose heirs have given it up notices by itself,
    /// with the first thing that happens.
    pub fn resume(estate: Estate) -> Self {
        let Estate {
            settings,
            state,
            since,
            ready,
            tracking,
            leaving,
            link_up,
            lead,
            heard_anyone,
            begins,
            active,
            preempts,
            rival,
            demoted,
            learned,
            timers,
            peers,
            last_refused,
        } = estate;
        Self {
            settings,
            state,
            since,
            ready,
            tracking,
            leaving,
            link_up,
            lead,
            heard_anyone,
            begins,
            active,
            preempts,
            rival,
            demoted,
            learned,
            timers,
            peers,
            foreign: ForeignRouters::refused_before(last_refused),
            counters: Counters::default(),
            actions: VecDeque::new(),
        }
    }
}
