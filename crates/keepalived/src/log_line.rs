//! What keepalived logs: how loud it is for us, and what it tells about a change of state.

use tracing::Level;
use vrrp::State;

/// One line, without the time that keepalived puts in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine<'a> {
    pub(crate) text: &'a str,
}

/// Why an instance enters a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) to: State,
    pub(crate) text: String,
}

/// What an operator would look into.
const WORRYING: [&str; 18] = [
    "bogus",
    "cannot",
    "can't",
    "conflict",
    "died",
    "duplicate",
    "error",
    "expect",
    "fail",
    "ignor",
    "incorrect",
    "invalid",
    "mismatch",
    "not present",
    "truncat",
    "unable",
    "unknown",
    "warning",
];

impl<'a> LogLine<'a> {
    /// Cuts off the time, as of ctime(3): `Mon Nov 23 06:30:13 2026: Startup complete`.
    pub(crate) fn new(line: &'a str) -> Self {
        let line = line.trim_end();
        let is_time = |time: &str| {
            let words: Vec<&str> = time.split_ascii_whitespace().collect();
            words.len() == 5 && words[3].contains(':') && words[4].parse::<u16>().is_ok()
        };
        let text = match line.split_once(": ") {
            Some((time, text)) if is_time(time) => text,
            _ => line,
        };
        Self { text }
    }

    /// States are told by our own events; what remains is for those who look for it.
    pub(crate) fn level(&self) -> Level {
        let text = self.text.to_lowercase();
        // Said at every start with IPv6 addresses, and needless in such a network.
        let harmless = text.contains("should be link local") || text.contains("(init)");
        if !harmless && WORRYING.iter().any(|word| text.contains(word)) {
            return Level::WARN;
        }
        Level::DEBUG
    }

    /// The VRRP instance that the line is about, and why it enters its next state.
    pub(crate) fn reason(&self) -> Option<(&'a str, Reason)> {
        let (instance, text) = self.text.strip_prefix('(')?.split_once(')')?;
        let text = text.trim_start_matches([':', ' ']);
        Some((instance, reason(text)?))
    }

    /// The process that speaks VRRP was killed; keepalived starts another one.
    pub(crate) fn is_death_of_the_speaker(&self) -> bool {
        self.text.starts_with("VRRP child process(") && self.text.contains(" died")
    }
}

/// In the words of the built-in engine.
fn reason(text: &str) -> Option<Reason> {
    let reason = |to, text: &str| Some(Reason { to, text: text.to_owned() });
    if text.starts_with("Entering BACKUP STATE (init)") {
        return reason(State::Backup, "started, listening first");
    }
    if text.contains("advertisement timeout") {
        return reason(State::Active, "no advertisement heard for the down interval");
    }
    if text.contains("Backup received priority 0") {
        return reason(State::Active, "the holder left (priority 0)");
    }
    if let Some(rest) = text.strip_prefix("Master received advert from ") {
        let (address, rest) = rest.split_once(' ')?;
        if rest.contains("higher IP address") {
            let text = format!("{address} has the same priority and the higher address");
            return reason(State::Backup, &text);
        }
        let (_, priorities) = rest.split_once("higher priority ")?;
        let (theirs, ours) = priorities.split_once(", ours ")?;
        let text = format!("{address} took over with priority {theirs}, ours is {ours}");
        return reason(State::Backup, &text);
    }
    let (_, fault) = text.split_once("ntering FAULT state (")?;
    reason(State::Initialize, fault.trim_end_matches(')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of keepalived 2.2.7.
    const TIMEOUT: &str = "Mon Nov 23 06:30:17 2026: (a4) Receive advertisement timeout\n";

    fn reason(line: &str) -> Option<(&str, State, String)> {
        let (instance, reason) = LogLine::new(line).reason()?;
        Some((instance, reason.to, reason.text))
    }

    #[test]
    fn the_time_is_cut_off() {
        assert_eq!(LogLine::new(TIMEOUT).text, "(a4) Receive advertisement timeout");
        assert_eq!(LogLine::new("(a4): a: b").text, "(a4): a: b");
        assert_eq!(LogLine::new("").text, "");
    }

    #[test]
    fn reasons_are_told_as_the_built_in_engine_tells_them() {
        let said = |to, text: &str| Some(("a4", to, text.to_owned()));
        assert_eq!(
            reason(TIMEOUT),
            said(State::Active, "no advertisement heard for the down interval")
        );
        assert_eq!(
            reason("(a4) Master received advert from 10.5.0.1 with higher priority 200, ours 100"),
            said(State::Backup, "10.5.0.1 took over with priority 200, ours is 100")
        );
        assert_eq!(
            reason(
                "(a4) Master received advert from fe80::1 with same priority 200 but higher IP address than ours"
            ),
            said(State::Backup, "fe80::1 has the same priority and the higher address")
        );
        assert_eq!(
            reason("(a4) Entering BACKUP STATE (init)"),
            said(State::Backup, "started, listening first")
        );
        assert_eq!(
            reason("(a4): entering FAULT state (interface eth0 down)"),
            said(State::Initialize, "interface eth0 down")
        );
        assert_eq!(reason("(a4) setting VIPs."), None);
        assert_eq!(reason("Startup complete"), None);
    }

    #[test]
    fn only_what_is_worth_a_look_is_loud() {
        let level = |line: &str| LogLine::new(line).level();
        assert_eq!(level("(a4) received an invalid passwd!"), Level::WARN);
        assert_eq!(level("VRRP child process(31) died: Respawning"), Level::WARN);
        assert_eq!(level("(a6) the first IPv6 VIP address should be link local"), Level::DEBUG);
        assert_eq!(level(TIMEOUT), Level::DEBUG);
    }

    #[test]
    fn the_death_of_the_speaking_process_is_recognised() {
        assert!(LogLine::new("VRRP child process(31) died: Respawning").is_death_of_the_speaker());
        assert!(
            !LogLine::new("Healthcheck child process(31) died: Respawning")
                .is_death_of_the_speaker()
        );
    }
}
