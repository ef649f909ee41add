/// Whether this node should hold virtual IPs, with hysteresis: slower than the checks of the
/// backends, so that a virtual IP never moves for what choosing another backend has cured.
///
/// A fault that all nodes share shows on each at another moment, up to three seconds apart. So that
/// it moves nothing, the holder is the last to call itself unready and the first to call itself
/// ready again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    ready: bool,
    /// Looks in a row that said otherwise; `None` before the first look.
    otherwise: Option<u32>,
}

/// Looks in a row, one a second, that change the mind of a node.
struct Patience {
    rise: u32,
    fall: u32,
}

const HOLDER: Patience = Patience { rise: 1, fall: 5 };
const STANDBY: Patience = Patience { rise: 5, fall: 1 };

impl Readiness {
    /// Not ready, until the first look.
    pub(crate) const fn new() -> Self {
        Self { ready: false, otherwise: None }
    }

    /// Goes on with what the process before this one has found out.
    pub(crate) const fn inherit(ready: bool) -> Self {
        Self { ready, otherwise: Some(0) }
    }

    pub(crate) const fn is_ready(self) -> bool {
        self.ready
    }

    /// Takes what one look said; true if readiness changed. The first look decides alone.
    pub(crate) fn look(&mut self, good: bool, holds: bool) -> bool {
        let patience = if holds { HOLDER } else { STANDBY };
        let needed = match self.otherwise {
            None => 1,
            Some(_) if good => patience.rise,
            Some(_) => patience.fall,
        };
        let otherwise = if good == self.ready { 0 } else { self.otherwise.unwrap_or(0) + 1 };
        let changed = otherwise >= needed;
        if changed {
            self.ready = good;
        }
        self.otherwise = Some(if changed { 0 } else { otherwise });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(holds: bool, looks: &[bool]) -> Vec<bool> {
        let mut readiness = Readiness::new();
        looks
            .iter()
            .map(|good| {
                let before = readiness.is_ready();
                let changed = readiness.look(*good, holds);
                assert_eq!(changed, readiness.is_ready() != before);
                readiness.is_ready()
            })
            .collect()
    }

    #[test]
    fn the_first_look_decides_at_once() {
        assert!(!Readiness::new().is_ready());
        for holds in [true, false] {
            assert_eq!(looks(holds, &[true]), [true]);
            assert_eq!(looks(holds, &[false]), [false]);
        }
    }

    #[test]
    fn the_holder_bears_four_bad_looks_in_a_row_and_is_ready_again_at_once() {
        assert_eq!(
            looks(true, &[true, false, true, false, false, false, false, false, true]),
            [true, true, true, true, true, true, true, false, true]
        );
    }

    #[test]
    fn a_standby_is_unready_at_once_and_ready_after_five_good_looks_in_a_row() {
        assert_eq!(
            looks(false, &[true, false, true, false, true, true, true, true, true]),
            [true, false, false, false, false, false, false, false, true]
        );
    }

    #[test]
    fn a_new_holder_counts_on_from_what_it_saw_before() {
        let mut readiness = Readiness::new();
        assert!(!readiness.look(false, false));
        assert!(!readiness.look(true, false));
        assert!(readiness.look(true, true));
        assert!(readiness.is_ready());
    }
}
