//! Whether a received packet counts: the checks of RFC 9568 section 7.1, and of RFC 3768 section
//! 7.1 for version 2.

use super::{Datagram, VirtualRouter};
use crate::packet::group;
use crate::{
    Advertisement, Checksum, Difference, DropReason, HOP_LIMIT, Instant, Peer, Settings, State,
    Version,
};

impl VirtualRouter {
    /// The advertisement, if it is one to act on; learns what any such tells of its sender.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
    ) -> Result<Advertisement, DropReason> {
        let source = datagram.source;
        let (theirs, checksum) = self.read(datagram)?;
        if let Err(reason) = self.compare(datagram, &theirs) {
            self.foreign.note(now, source, Difference::Refused(reason), &theirs.addresses);
            return Err(reason);
        }

        self.heard_anyone = true;
        self.peers.hear(source, Peer { priority: theirs.priority, heard: now });
        if theirs.version == Version::V3 && source.is_ipv4() {
            self.learned = checksum;
            *self.counters.checksums.entry(checksum.label()).or_default() += 1;
        }
        self.compare_addresses(now, datagram, &theirs);
        Ok(theirs)
    }

    /// Whether it is an advertisement for this virtual router at all.
    fn read(&self, datagram: &Datagram<'_>) -> Result<(Advertisement, Checksum), DropReason> {
        if self.state == State::Initialize {
            return Err(DropReason::NotRunning);
        }
        if datagram.source == self.settings.source {
            return Err(DropReason::Own);
        }
        let (theirs, checksum) =
            Advertisement::parse(datagram.payload, datagram.source, datagram.destination)?;
        if theirs.virtual_router_id != self.settings.virtual_router_id {
            return Err(DropReason::OtherRouter(theirs.virtual_router_id));
        }
        // keepalived's unicast packets may be routed, so only the group's must be fresh.
        if datagram.destination.is_multicast() && datagram.hop_limit != HOP_LIMIT {
            return Err(DropReason::HopLimit(datagram.hop_limit));
        }
        Ok((theirs, checksum))
    }

    /// Whether the sender is configured as we are.
    fn compare(&self, datagram: &Datagram<'_>, theirs: &Advertisement) -> Result<(), DropReason> {
        let Settings { version, authentication, interval, unicast_peers, .. } = &self.settings;
        let expected = match unicast_peers.is_empty() {
            true => datagram.destination == group(datagram.source),
            false => !datagram.destination.is_multicast(),
        };
        if !expected {
            return Err(DropReason::Destination(datagram.destination));
        }
        if !unicast_peers.is_empty() && !unicast_peers.contains(&datagram.source) {
            return Err(DropReason::NoPeer(datagram.source));
        }
        if theirs.version != *version {
            let (theirs, ours) = (theirs.version.number(), version.number());
            return Err(DropReason::Version { theirs, ours });
        }
        if theirs.authentication.kind() != authentication.kind() {
            let (theirs, ours) = (theirs.authentication.kind(), authentication.kind());
            return Err(DropReason::Authentication { theirs, ours });
        }
        if theirs.authentication != *authentication {
            return Err(DropReason::Password);
        }
        if *version == Version::V2 && theirs.interval != *interval {
            return Err(DropReason::Interval { theirs: theirs.interval, ours: *interval });
        }
        Ok(())
    }

    /// Other addresses are told of, but no reason to drop a packet.
    fn compare_addresses(&mut self, now: Instant, datagram: &Datagram<'_>, theirs: &Advertisement) {
        let ours = &self.settings.addresses;
        let shared = ours.iter().filter(|address| theirs.addresses.contains(address)).count();
        if shared != ours.len() || shared != theirs.addresses.len() {
            self.counters.address_mismatch += 1;
        }
        // An empty list says nothing: keepalived may hold addresses that it does not advertise.
        if shared > 0 || theirs.addresses.is_empty() {
            self.foreign.forget(datagram.source);
        } else {
            self.foreign.note(now, datagram.source, Difference::Addresses, &theirs.addresses);
        }
    }
}
