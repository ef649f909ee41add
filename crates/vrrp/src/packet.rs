//! The advertisement on the wire.
//!
//! ```text
//!  version 2 (RFC 3768 5.1)                  version 3 (RFC 9568 5.2)
//!  0  version 4 | type 4                     0  version 4 | type 4
//!  1  virtual router identifier              1  virtual router identifier
//!  2  priority                               2  priority
//!  3  count of addresses                     3  count of addresses
//!  4  authentication type                    4  reserved 4 | interval 12, centiseconds
//!  5  interval, seconds
//!  6  checksum 16                            6  checksum 16
//!  8  addresses, 4 bytes each                8  addresses, 4 or 16 bytes each
//!     authentication data, 8 bytes
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DropReason, PROTOCOL};

mod checksum;
#[cfg(test)]
mod tests;

use checksum::Sum;

/// One VRRP advertisement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advertisement {
    /// The version of the protocol, which also decides the form of the packet.
    pub version: Version,
    /// The virtual router identifier, 1 to 255.
    pub virtual_router_id: u8,
    /// 0 = the Active router leaves, 255 = it owns the addresses, 1 to 254 otherwise.
    pub priority: u8,
    /// Time between advertisements: whole seconds (1 to 255) in version 2, centiseconds (up to
    /// 40.95 s) in version 3.
    pub interval: Duration,
    /// Version 2 only; version 3 has none (RFC 9568 section 9).
    pub authentication: Authentication,
    /// The virtual addresses, in the order of the packet.
    pub addresses: Vec<IpAddr>,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// RFC 3768, IPv4 only.
    V2,
    /// RFC 9568, IPv4 and IPv6.
    V3,
}

/// Version 2's authentication (RFC 2338 section 5.3.6, kept alive by keepalived).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Authentication {
    /// Type 0: eight bytes of zero are sent all the same.
    None,
    /// Type 1: a password in clear text, filled up with zeros.
    Password([u8; 8]),
}

/// How version 3 over IPv4 computes its checksum; implementations disagree.
///
/// Received packets may use any. Version 2 and IPv6 have one form only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Checksum {
    /// With a pseudo header of the real source and destination, as keepalived sends it.
    #[default]
    PseudoHeader,
    /// The VRRP message alone, as RFC 9568 section 5.2.8 and most hardware vendors have it.
    MessageOnly,
    /// With a pseudo header that names the group, even where the packet goes to a unicast peer:
    /// keepalived up to 1.3.6.
    GroupPseudoHeader,
}

const HEADER: usize = 8;
const AUTHENTICATION: usize = 8;
const ADVERTISEMENT: u8 = 1;

impl Advertisement {
    /// Reads a packet and verifies everything that needs no knowledge of the own configuration:
    /// length, version, type and checksum, the latter in every form seen in the field.
    pub fn parse(
        bytes: &[u8],
        source: IpAddr,
        destination: IpAddr,
    ) -> Result<(Self, Checksum), DropReason> {
        let (header, rest) =
            bytes.split_first_chunk::<HEADER>().ok_or(DropReason::Length(bytes.len()))?;
        let version = match header[0] >> 4 {
            2 => Version::V2,
            3 => Version::V3,
            other => return Err(DropReason::UnknownVersion(other)),
        };
        if header[0] & 0x0f != ADVERTISEMENT {
            return Err(DropReason::Type(header[0] & 0x0f));
        }

        let width = if source.is_ipv4() { 4 } else { 16 };
        let trailer = if version == Version::V2 { AUTHENTICATION } else { 0 };
        let addresses = width * usize::from(header[3]);
        if rest.len() != addresses + trailer {
            return Err(DropReason::Length(bytes.len()));
        }
        let dialect = verify(bytes, version, source, destination)?;

        let (interval, authentication) = match version {
            Version::V2 => (
                Duration::from_secs(header[5].into()),
                Authentication::parse(header[4], &rest[addresses..])?,
            ),
            Version::V3 => {
                let centiseconds = u16::from_be_bytes([header[4] & 0x0f, header[5]]);
                (Duration::from_millis(u64::from(centiseconds) * 10), Authentication::None)
            }
        };
        if interval.is_zero() {
            return Err(DropReason::NoInterval);
        }
        let advertisement = Self {
            version,
            virtual_router_id: header[1],
            priority: header[2],
            interval,
            authentication,
            addresses: rest[..addresses].chunks_exact(width).map(address).collect(),
        };
        Ok((advertisement, dialect))
    }

    /// Writes the packet as it goes from `source` to `destination`.
    ///
    /// Over IPv6 the checksum is filled in with the pseudo header of RFC 8200 section 8.1, so the
    /// kernel need not do it.
    pub fn emit(&self, source: IpAddr, destination: IpAddr, dialect: Checksum) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 16 * self.addresses.len() + AUTHENTICATION);
        let timing = match self.version {
            Version::V2 => [self.authentication.kind(), self.interval.as_secs() as u8],
            Version::V3 => ((self.interval.as_millis() / 10) as u16 & 0x0fff).to_be_bytes(),
        };
        bytes.push(self.version.number() << 4 | ADVERTISEMENT);
        bytes.push(self.virtual_router_id);
        bytes.push(self.priority);
        bytes.push(self.addresses.len() as u8);
        bytes.extend_from_slice(&timing);
        bytes.extend_from_slice(&[0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend_from_slice(&self.authentication.data());
        }

        let sum = match (self.version, source, dialect) {
            (Version::V2, ..) | (Version::V3, IpAddr::V4(_), Checksum::MessageOnly) => {
                Sum::default()
            }
            (Version::V3, IpAddr::V4(_), Checksum::GroupPseudoHeader) => {
                Sum::pseudo_header(source, group(source), bytes.len())
            }
            _ => Sum::pseudo_header(source, destination, bytes.len()),
        };
        let checksum = sum.add(&bytes).finish();
        bytes[6..8].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

impl Version {
    /// The number in the packet.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl Checksum {
    /// A short name, for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::PseudoHeader => "pseudo_header",
            Self::MessageOnly => "message_only",
            Self::GroupPseudoHeader => "group_pseudo_header",
        }
    }
}

impl Authentication {
    /// A password of 1 to 8 bytes; longer ones are cut, as keepalived cuts them.
    pub fn password(password: &str) -> Self {
        let mut data = [0; AUTHENTICATION];
        for (byte, given) in data.iter_mut().zip(password.bytes()) {
            *byte = given;
        }
        Self::Password(data)
    }

    fn parse(kind: u8, data: &[u8]) -> Result<Self, DropReason> {
        match (kind, data.try_into()) {
            (0, _) => Ok(Self::None),
            (1, Ok(data)) => Ok(Self::Password(data)),
            _ => Err(DropReason::AuthenticationType(kind)),
        }
    }

    /// The authentication type of the packet.
    pub const fn kind(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Password(_) => 1,
        }
    }

    const fn data(self) -> [u8; AUTHENTICATION] {
        match self {
            Self::None => [0; AUTHENTICATION],
            Self::Password(data) => data,
        }
    }
}

// A password must not reach a log.
impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(..)",
        })
    }
}

/// The group that advertisements are sent to (RFC 9568 section 5.1.1.2 and 5.1.2.2).
pub const fn group(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12)),
    }
}

fn verify(
    bytes: &[u8],
    version: Version,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Checksum, DropReason> {
    let message_only = || Sum::default().add(bytes).finish() == 0;
    let pseudo_header =
        |to: IpAddr| Sum::pseudo_header(source, to, bytes.len()).add(bytes).finish() == 0;

    if version == Version::V2 {
        return message_only().then_some(Checksum::MessageOnly).ok_or(DropReason::Checksum);
    }
    if pseudo_header(destination) {
        return Ok(Checksum::PseudoHeader);
    }
    if source.is_ipv4() && message_only() {
        return Ok(Checksum::MessageOnly);
    }
    if source.is_ipv4() && pseudo_header(group(source)) {
        return Ok(Checksum::GroupPseudoHeader);
    }
    Err(DropReason::Checksum)
}

fn address(bytes: &[u8]) -> IpAddr {
    match <[u8; 16]>::try_from(bytes) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}
