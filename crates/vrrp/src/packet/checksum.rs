use std::net::IpAddr;

use super::PROTOCOL;

/// The Internet checksum (RFC 1071), taken in pieces of even length.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum(u32);

impl Sum {
    /// The pseudo header of RFC 8200 section 8.1, and its IPv4 counterpart of RFC 768.
    pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Self {
        let sum = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::default().add(&source.octets()).add(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::default().add(&source.octets()).add(&destination.octets())
            }
            // No packet has a source and a destination of different families.
            _ => Self::default(),
        };
        sum.add(&(length as u16).to_be_bytes()).add(&[0, PROTOCOL])
    }

    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(2).map(|word| {
            u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()]))
        });
        Self(words.fold(self.0, u32::wrapping_add))
    }

    pub(super) const fn finish(self) -> u16 {
        let folded = (self.0 & 0xffff) + (self.0 >> 16);
        !((folded & 0xffff) + (folded >> 16)) as u16
    }
}
