//! What keepalived tells: its log, and who holds the addresses.

use vrrp::State;

use super::Supervisor;
use crate::Event;
use crate::log_line::LogLine;
use crate::notice::{self, Notice};

impl Supervisor {
    pub(super) fn log(&mut self, line: &str) {
        let line = LogLine::new(line);
        self.relay.log(&line);
        if let Some((instance, reason)) = line.reason() {
            self.reasons.insert(instance.to_owned(), reason);
        }
        if line.is_death_of_the_speaker() {
            self.initialize("keepalived's VRRP process ended, it starts another one");
        }
    }

    pub(super) fn notice(&mut self, line: &str) {
        let Some(notice) = notice::parse(line) else { return };
        // The first notice is the sign that the speaker has started.
        self.hasten();
        let reason = self.reason(&notice);
        self.enter(&notice.instance, notice.state, &reason);
        self.follow_virtual_servers();
        if self.leaving.is_some() && !self.status.holds() {
            self.over = true;
        }
    }

    /// What the log told, or what goes without saying.
    fn reason(&mut self, notice: &Notice) -> String {
        let told = self.reasons.remove(&notice.instance).filter(|told| told.to == notice.state);
        let before = self.status.instances.iter().find(|it| it.name == notice.instance);
        let before = before.map_or(State::Initialize, |instance| instance.state);
        let leaves = self.leaving.is_some() && before == State::Active;
        match (told.map(|told| told.text), before, notice.state) {
            (Some(told), _, State::Backup) if leaves => format!("handed over: {told}"),
            (None, _, State::Backup) if leaves => "handed over".into(),
            (Some(told), ..) => told,
            (None, State::Initialize, State::Backup) => "started, listening first".into(),
            (None, _, State::Initialize) if notice.ended => "stopped".into(),
            (None, ..) => "keepalived tells no reason".into(),
        }
    }

    fn enter(&mut self, name: &str, state: State, reason: &str) {
        let Some(instance) = self.status.instances.iter_mut().find(|it| it.name == name) else {
            return;
        };
        if let Some(transition) = instance.enter(state, reason.to_owned()) {
            self.tell_ranks();
            (self.tell)(Event::Transition { instance: name.to_owned(), transition });
        }
    }

    pub(super) fn initialize(&mut self, reason: &str) {
        let names: Vec<String> = self.status.instances.iter().map(|it| it.name.clone()).collect();
        for name in names {
            self.enter(&name, State::Initialize, reason);
        }
    }
}
