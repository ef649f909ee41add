use std::fmt;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// The text is no Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no MAC address: write it as 02:00:00:00:00:01")]
pub struct MacError(String);

impl fmt::Display for Mac {
    /// As the kernel prints it: lower case, with colons.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Reads `02:00:5e:10:00:01`, `02-00-5E-10-00-01` and `0200.5e10.0001`, in either case.
    ///
    /// Twelve digits without separators are not taken: that could be the name of an interface.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| MacError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let (separator, digits) = match text.find([':', '-', '.'])? {
        2 => (text.as_bytes()[2], 2),
        4 => (b'.', 4),
        _ => return None,
    };
    let groups: Vec<&str> = text.split(char::from(separator)).collect();
    if separator == b'.' && digits == 2 || groups.len() != 12 / digits {
        return None;
    }

    let mut mac = [0; 6];
    for (bytes, group) in mac.chunks_exact_mut(digits / 2).zip(groups) {
        if group.len() != digits || !group.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&group[index * 2..][..2], 16).ok()?;
        }
    }
    Some(mac)
}
