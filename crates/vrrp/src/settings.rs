use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Authentication, Checksum, Version};

/// The settings of one virtual router.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// 1 to 255, the same on every node.
    pub virtual_router_id: u8,
    /// The same on every node.
    pub version: Version,
    /// 1 to 254; 255 owns the addresses: Active at once, whatever its readiness.
    pub priority: u8,
    /// Time between advertisements; version 2: whole seconds, 1 to 255; version 3: 10 ms to 40.95 s.
    pub interval: Duration,
    /// Whether to take over from an Active router of lower priority. Equal priorities never do.
    pub preempt: bool,
    /// How long an Active router of lower priority may go on before it is preempted; zero for no
    /// longer than the down interval. One that lowers its priority itself is relieved at once.
    pub preempt_delay: Duration,
    /// How long after the start it takes no part and throws packets away, so that links and
    /// switches can settle; zero for none.
    pub startup_delay: Duration,
    /// Version 2 only.
    pub authentication: Authentication,
    /// The form of version 3's checksum over IPv4 that is sent.
    pub checksum: ChecksumChoice,
    /// The address that advertisements are sent from; decides between equal priorities.
    pub source: IpAddr,
    /// Empty for multicast; otherwise the only routers listened to.
    pub unicast_peers: Vec<IpAddr>,
    /// The virtual addresses, all of the family of `source`.
    pub addresses: Vec<IpAddr>,
}

/// Which form of version 3's checksum over IPv4 is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumChoice {
    /// The form of the last accepted advertisement; keepalived's until one was heard. Where both
    /// forms are in use on a segment no choice satisfies everybody: [`Counters::checksums`] tells.
    ///
    /// [`Counters::checksums`]: crate::Counters::checksums
    #[default]
    Auto,
    /// Always this one.
    Fixed(Checksum),
}

/// Settings that no virtual router can run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The identifier is 0.
    #[error("virtual router identifier 0 is not allowed, use 1 to 255")]
    RouterId,
    /// The priority is 0.
    #[error("priority 0 is reserved for leaving, use 1 to 255")]
    Priority,
    /// The interval does not fit the version's field.
    #[error(
        "interval {0:?} cannot be sent: version 2 takes whole seconds from 1 to 255, version 3 takes 10 ms to 40.95 s in steps of 10 ms"
    )]
    Interval(Duration),
    /// No address, or more than fit.
    #[error("{0} virtual addresses, 1 to 255 are possible")]
    AddressCount(usize),
    /// Source, peers and virtual addresses differ in their family.
    #[error("{0} is of another family than the source address")]
    Family(IpAddr),
    /// Version 2 has no form for IPv6.
    #[error("IPv6 needs version 3")]
    Ipv6NeedsVersion3,
    /// Version 3 has no form for a password.
    #[error("version 3 has no passwords (RFC 9568 section 9): use version 2, or no password")]
    PasswordNeedsVersion2,
}

impl Settings {
    /// Checks what the packet's fields and the RFCs demand.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.virtual_router_id == 0 {
            return Err(SettingsError::RouterId);
        }
        if self.priority == 0 {
            return Err(SettingsError::Priority);
        }
        let (unit, most) = match self.version {
            Version::V2 => (1_000_000_000, 255),
            Version::V3 => (10_000_000, 4095),
        };
        let nanoseconds = self.interval.as_nanos();
        if !nanoseconds.is_multiple_of(unit) || !(1..=most).contains(&(nanoseconds / unit)) {
            return Err(SettingsError::Interval(self.interval));
        }
        if !(1..=255).contains(&self.addresses.len()) {
            return Err(SettingsError::AddressCount(self.addresses.len()));
        }
        let mut others = self.addresses.iter().chain(&self.unicast_peers);
        if let Some(other) = others.find(|other| other.is_ipv4() != self.source.is_ipv4()) {
            return Err(SettingsError::Family(*other));
        }
        if self.source.is_ipv6() && self.version == Version::V2 {
            return Err(SettingsError::Ipv6NeedsVersion3);
        }
        if self.version == Version::V3 && self.authentication != Authentication::None {
            return Err(SettingsError::PasswordNeedsVersion2);
        }
        Ok(())
    }
}
