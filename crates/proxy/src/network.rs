//! Networks that clients may come from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses with the same first bits, such as `10.0.0.0/8` or `2001:db8::/32` (RFC 4632, 3.1;
/// RFC 4291, 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

/// Why a text names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    #[error("{0:?} is no IP address: write a network as ADDRESS/BITS, such as 10.0.0.0/8")]
    Address(String),
    /// What follows the slash is no number of bits of such an address.
    #[error("{text:?} is no prefix length: it goes from 0 to {most}")]
    PrefixLength {
        /// As written.
        text: String,
        /// 32 for IPv4, 128 for IPv6.
        most: u8,
    },
    /// Bits beyond the prefix are set, which is more often a slip than meant.
    #[error("{given} names one address of the network {meant}: write {meant}, or {host}/{most} for that address alone", given = .given, host = .given.address, most = .given.most())]
    HostBits {
        /// As written.
        given: Network,
        /// The network that the address is in.
        meant: Network,
    },
}

impl Network {
    /// The network of `address`, whatever its bits beyond the prefix; of that address alone, where
    /// the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix_length: u8) -> Self {
        let prefix_length = prefix_length.min(bits(address));
        Self { address: masked(address, prefix_length), prefix_length }
    }

    /// Whether `address` is in it. An IPv4 address mapped into IPv6 counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && masked(address, self.prefix_length) == self.address
    }

    /// The bits of such an address.
    fn most(&self) -> u8 {
        bits(self.address)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Reads `ADDRESS/BITS`; an address alone is the network of that address.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix_length) = match text.split_once('/') {
            Some((address, prefix_length)) => (address, Some(prefix_length)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let most = bits(address);
        let prefix_length = match prefix_length {
            None => most,
            Some(text) => match text.parse() {
                Ok(length) if length <= most => length,
                _ => return Err(NetworkError::PrefixLength { text: text.to_owned(), most }),
            },
        };
        let given = Self { address, prefix_length };
        let meant = Self { address: masked(address, prefix_length), prefix_length };
        if given == meant { Ok(meant) } else { Err(NetworkError::HostBits { given, meant }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_length)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_length: u8) -> IpAddr {
    let shift = u32::from(bits(address) - prefix_length);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests;
