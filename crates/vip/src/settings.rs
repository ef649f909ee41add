use std::time::Duration;

use kernel::address::VirtualAddress;
use kernel::link::Link;

use crate::Identity;

/// What the speaker runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The virtual routers, each with its own identifier.
    pub instances: Vec<Instance>,
    /// How long the kernel keeps an address that nobody renews, in whole seconds.
    pub lifetime: Duration,
    /// Ask for real-time scheduling and locked memory; without the permission it goes on without.
    pub realtime: bool,
}

/// One virtual router on one interface.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Names it in logs and status.
    pub name: String,
    /// The interface.
    pub link: Link,
    /// The protocol's settings; its addresses are those of `addresses`.
    pub router: vrrp::Settings,
    /// The virtual addresses with the prefix length they get on the interface.
    pub addresses: Vec<VirtualAddress>,
}

impl Instance {
    /// Whether `other` can be had from this one without new sockets.
    pub(crate) fn is_same_router(&self, other: &Self) -> bool {
        let sockets = |it: &Self| Identity { name: String::new(), ..it.identity() };
        sockets(self) == sockets(other)
    }

    /// What makes it the same virtual router in another process.
    pub fn identity(&self) -> Identity {
        Identity::new(&self.name, self.link.index, &self.router)
    }

    /// Whether nothing that is set differs; the interface may be in another state.
    pub(crate) fn is_set_as(&self, other: &Self) -> bool {
        (&self.name, &self.router, &self.addresses)
            == (&other.name, &other.router, &other.addresses)
    }
}

impl Settings {
    /// Two seconds: the kernel counts whole ones, and one would leave no room for a hiccup.
    ///
    /// Renewed each half a second, an address leaves a node that died 1.5 to 2.65 s later: the
    /// kernel removes it up to 0.65 s late. An heir of version 2 at intervals of a second may claim
    /// it after 3.2 s only (RFC 3768 section 6.1), so that for 0.6 to 1.7 s nobody has it. Three
    /// seconds would close most of that gap, but a dead node could hold the address for 3.65 s, and
    /// then two would have it: better nobody for a moment. Shorter intervals, which version 3
    /// allows, close the gap from the other side.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(2);
}
