//! What keepalived writes into its notify FIFO (keepalived.conf(5), `vrrp_notify_fifo`).

use vrrp::State;

/// A VRRP instance entered a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) instance: String,
    pub(crate) state: State,
    /// `STOP` and `DELETED`: not a fault.
    pub(crate) ended: bool,
}

/// Reads `INSTANCE "VI_1" MASTER 100`; `None` for sync groups, changes of priority and everything
/// that later versions may add.
pub(crate) fn parse(line: &str) -> Option<Notice> {
    let rest = line.trim().strip_prefix("INSTANCE \"")?;
    // The name comes first and may hold anything but a line break: the last quote ends it.
    let (instance, rest) = rest.rsplit_once("\" ")?;
    let word = rest.split_ascii_whitespace().next()?;
    let state = match word {
        "MASTER" => State::Active,
        "BACKUP" => State::Backup,
        "FAULT" | "STOP" | "DELETED" => State::Initialize,
        _ => return None,
    };
    let ended = matches!(word, "STOP" | "DELETED");
    Some(Notice { instance: instance.to_owned(), state, ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(instance: &str, state: State, ended: bool) -> Option<Notice> {
        Some(Notice { instance: instance.into(), state, ended })
    }

    /// Lines of keepalived 2.2.7.
    #[test]
    fn states_of_instances_are_read() {
        assert_eq!(parse("INSTANCE \"a4\" MASTER 200"), notice("a4", State::Active, false));
        assert_eq!(parse("INSTANCE \"a6\" BACKUP 100\n"), notice("a6", State::Backup, false));
        assert_eq!(parse("INSTANCE \"a4\" FAULT 200"), notice("a4", State::Initialize, false));
        assert_eq!(parse("INSTANCE \"a4\" STOP 200"), notice("a4", State::Initialize, true));
    }

    #[test]
    fn everything_else_is_passed_over() {
        for line in [
            "GROUP \"g\" MASTER 0",
            "INSTANCE \"a6\" MASTER_RX_LOWER_PRI 200",
            "INSTANCE \"a4\" MASTER_PRIORITY 100",
            "INSTANCE \"a4\"",
            "INSTANCE \"a4",
            "INSTANCE",
            "",
            "\u{fffd}\u{fffd}",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_name_may_hold_spaces_and_quotes() {
        assert_eq!(parse("INSTANCE \"a \" b\" MASTER 1"), notice("a \" b", State::Active, false));
    }
}
