/// Whether this node should hold virtual IPs, with hysteresis: slower than the checks of the
/// backends, so that a virtual IP never moves for what choosing another backend has cured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    ready: bool,
    /// Looks in a row that said otherwise; `None` before the first look.
    otherwise: Option<u32>,
}

/// Looks in a row, one a second, that make a node ready.
const RISE: u32 = 2;
/// Looks in a row that make it unready.
const FALL: u32 = 3;

impl Readiness {
    /// Not ready, until the first look.
    pub(crate) const fn new() -> Self {
        Self { ready: false, otherwise: None }
    }

    pub(crate) const fn is_ready(self) -> bool {
        self.ready
    }

    /// Takes what one look said; true if readiness changed. The first look decides alone.
    pub(crate) fn look(&mut self, good: bool) -> bool {
        let Some(otherwise) = self.otherwise else {
            self.otherwise = Some(0);
            let changed = self.ready != good;
            self.ready = good;
            return changed;
        };
        if good == self.ready {
            self.otherwise = Some(0);
            return false;
        }
        let needed = if good { RISE } else { FALL };
        let changed = otherwise + 1 >= needed;
        if changed {
            self.ready = good;
        }
        self.otherwise = Some(if changed { 0 } else { otherwise + 1 });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(looks: &[bool]) -> Vec<bool> {
        let mut readiness = Readiness::new();
        looks
            .iter()
            .map(|good| {
                readiness.look(*good);
                readiness.is_ready()
            })
            .collect()
    }

    #[test]
    fn the_first_look_decides_at_once() {
        assert!(!Readiness::new().is_ready());
        assert_eq!(looks(&[true]), [true]);
        assert_eq!(looks(&[false]), [false]);
    }

    #[test]
    fn three_bad_looks_in_a_row_make_it_unready_and_two_good_ones_ready() {
        assert_eq!(
            looks(&[true, false, false, true, false, false, false, true, false, true, true]),
            [true, true, true, true, true, true, false, false, false, false, true]
        );
    }
}
