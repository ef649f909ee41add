//! Which backend a client gets: round robin, suspects last.

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
pub(crate) enum Choice {
    /// Only backends in good standing.
    GoodOnly,
    /// Suspects too, when nobody better is left.
    Anyone,
}

/// Picks one of `count` backends for the client whose turn it is.
///
/// Turns are counted per proxy, so that any N consecutive clients get N good backends once each.
/// A client that comes back with the same turn gets the next untried one, spread over all of them
/// by the turn again: the clients of a dead backend do not all fall on its neighbour.
pub(crate) fn pick(
    turn: usize,
    count: usize,
    choice: Choice,
    standing: impl Fn(usize) -> Standing,
) -> Option<usize> {
    let nth_of = |wanted: Standing| {
        let those = || (0..count).filter(|&index| standing(index) == wanted);
        let position = turn.checked_rem(those().count())?;
        those().nth(position)
    };
    match choice {
        Choice::GoodOnly => nth_of(Standing::Good),
        Choice::Anyone => nth_of(Standing::Good).or_else(|| nth_of(Standing::Suspect)),
    }
}

#[cfg(test)]
mod tests;
