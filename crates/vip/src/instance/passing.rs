//! A virtual router that changes over to another process of this machine.

use kernel::vrrp_socket::LARGEST_DATAGRAM;
use vrrp::{Instant, State, VirtualRouter};

use super::Running;
use crate::keeper::{Holding, Keeper};
use crate::succession::{Identity, RouterEstate};

impl Running {
    /// Whether it can be passed on now: not while it leaves, or its addresses do.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.router.is_leaving() && self.parting.is_none()
    }

    /// What the process leaves that passes it on.
    pub(crate) fn estate(&self) -> RouterEstate {
        RouterEstate {
            identity: self.instance.identity(),
            addresses: self.instance.addresses.iter().map(ToString::to_string).collect(),
            router: self.router.estate(),
        }
    }

    pub(crate) fn is(&self, other: &Identity) -> bool {
        self.instance.identity().is(other)
    }

    /// Lets pass what the process before this one hears still.
    pub(crate) fn let_pass(&self) {
        let Some(tools) = &self.tools else { return };
        let mut buffer = [0; LARGEST_DATAGRAM];
        while let Ok(Some(_)) = tools.socket.receive(&mut buffer) {}
        // While the link is down there is nothing to hear.
        let _ = tools.witness.heard();
    }

    /// Goes on with what another process has left. The settings are those of this one: as after a
    /// reload.
    pub(crate) fn resume(&mut self, now: Instant, estate: RouterEstate, keeper: &Keeper) {
        let wanted = self.instance.clone();
        self.router = VirtualRouter::resume(estate.router);
        self.instance.router = self.router.settings().clone();
        // One that cannot be read was not written by us.
        self.instance.addresses =
            estate.addresses.iter().filter_map(|it| it.parse().ok()).collect();
        if self.router.state() == State::Active {
            keeper.adopt(Holding { ..self.holding() });
        }
        if self.instance.is_set_as(&wanted) {
            self.instance = wanted;
            if self.router.state() == State::Active {
                self.hold(keeper);
            }
        } else {
            self.update(now, wanted, keeper);
        }
        self.router.set_link(now, self.instance.link.up);
    }
}
