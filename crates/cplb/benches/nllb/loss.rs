use std::fmt;

use lab::Error;
use lab::world::World;

/// How controllers are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// One apiserver gets SIGKILL: it refuses.
    Killed,
    /// One apiserver gets SIGSTOP: it accepts, and nothing comes.
    Hung,
    /// The cable of one controller is cut: silence.
    CutOff,
    /// Two of three apiservers get SIGKILL.
    TwoKilled,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::Killed, Self::Hung, Self::CutOff, Self::TwoKilled];

    pub(crate) fn happen(self, world: &mut World) -> Result<(), Error> {
        match self {
            Self::Killed => world.node_mut(1).apiserver.kill(),
            Self::Hung => world.node_mut(1).apiserver.freeze(),
            Self::CutOff => world.cut(1),
            Self::TwoKilled => {
                world.node_mut(0).apiserver.kill()?;
                world.node_mut(1).apiserver.kill()
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed",
            Self::Hung => "hung",
            Self::CutOff => "cut off",
            Self::TwoKilled => "two of three killed",
        })
    }
}
