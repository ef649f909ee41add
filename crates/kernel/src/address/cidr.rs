use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the length of its subnet's prefix, as in `10.0.0.100/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The address itself, IPv4 or IPv6.
    pub address: IpAddr,
    /// 0 to 32, or 0 to 128.
    pub prefix_length: u8,
}

/// The text is no address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address with a prefix length: write it as 10.0.0.100/24 or 2001:db8::100/64")]
pub struct CidrError(String);

impl fmt::Display for VirtualAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_length)
    }
}

impl FromStr for VirtualAddress {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| CidrError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<VirtualAddress> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if !length.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let prefix_length = length.parse().ok().filter(|length| *length <= longest)?;
    Some(VirtualAddress { address, prefix_length })
}
