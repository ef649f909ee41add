use crate::{Installed, LeftOut};

/// What this node balances, as it was a second ago at most, and what does not go well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The services at the addresses of the settings, whoever made them; none of an address that
    /// another node holds.
    pub services: Vec<Installed>,
    /// Usable real servers that a service cannot use all the same.
    pub left_out: Vec<LeftOut>,
    /// Why the kernel is not as it should be, if so; it is tried again every second.
    pub error: Option<String>,
}
