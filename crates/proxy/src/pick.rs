//! Which backend a client gets: round robin or the least loaded one, suspects last.

/// What one backend is to one client that needs its next backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing speaks against it.
    Good,
    /// It failed a moment ago: only for want of a better one.
    Suspect,
    /// This client has it or had it already.
    Tried,
}

/// Who may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Among {
    /// Only backends in good standing.
    Good,
    /// Suspects too, when nobody better is left.
    All,
}

/// Picks one of `count` backends for the client whose turn it is.
///
/// Turns are counted per proxy, so that any N consecutive clients get N good backends once each.
/// A client that comes back with the same turn gets the next untried one, spread over all of them
/// by the turn again: the clients of a dead backend do not all fall on its neighbour.
pub(crate) fn pick(
    turn: usize,
    count: usize,
    among: Among,
    standing: impl Fn(usize) -> Standing,
) -> Option<usize> {
    let nth_of = |wanted: Standing| {
        let those = || (0..count).filter(|&index| standing(index) == wanted);
        let position = turn.checked_rem(those().count())?;
        those().nth(position)
    };
    match among {
        Among::Good => nth_of(Standing::Good),
        Among::All => nth_of(Standing::Good).or_else(|| nth_of(Standing::Suspect)),
    }
}

/// Like [`pick`], but only those count that have the least load. Among equals it goes by turns, so
/// that clients who come at the same time, or to idle backends, are spread too.
pub(crate) fn pick_least(
    turn: usize,
    count: usize,
    among: Among,
    standing: impl Fn(usize) -> Standing,
    load: impl Fn(usize) -> usize,
) -> Option<usize> {
    // Read once: other threads change them meanwhile.
    let loads: Vec<_> = (0..count).map(load).collect();
    let least_of = |wanted: Standing| {
        let those = || (0..count).filter(|&index| standing(index) == wanted);
        let least = those().map(|index| loads[index]).min()?;
        let lightest = |&index: &usize| loads[index] == least;
        those().filter(lightest).nth(turn % those().filter(lightest).count())
    };
    match among {
        Among::Good => least_of(Standing::Good),
        Among::All => least_of(Standing::Good).or_else(|| least_of(Standing::Suspect)),
    }
}

#[cfg(test)]
mod tests;
