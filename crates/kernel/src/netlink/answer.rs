use std::fmt::Display;

use netlink_packet_core::{
    DecodeError, NLA_HEADER_SIZE, NLM_F_ACK_TLVS, NLMSG_DONE, NetlinkBuffer, NlasIterator,
};
use rustix::io::Errno;

use crate::Error;
use crate::error::Explanation;

/// `int error` and the echoed `struct nlmsghdr`; NETLINK_CAP_ACK leaves out the rest of the request.
const ERROR_BYTES: usize = 4 + 16;

/// One message from the kernel, between its header and the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// The message type.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// The number of the request that it answers, 0 for a notification.
    pub sequence: u32,
    /// The family's own header and its attributes.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The attributes after a family header of `header` bytes, each as type (without its flag
    /// bits) and value. Ends at the first one that does not fit.
    pub fn attributes(&self, header: usize) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        attributes(self.body.get(header..).unwrap_or_default())
    }
}

/// Splits a sequence of attributes, also a nested one, into types and values.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        (kind, &attribute.into_inner()[NLA_HEADER_SIZE..][..length])
    })
}

/// Splits a datagram into its messages.
pub(super) fn messages<'a>(
    mut datagram: &'a [u8],
    purpose: &dyn Display,
) -> impl Iterator<Item = Result<Received<'a>, Error>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let header = match NetlinkBuffer::new_checked(datagram) {
            Ok(header) => header,
            Err(error) => {
                datagram = &[];
                return Some(Err(malformed(purpose, &error)));
            }
        };
        let length = header.length() as usize;
        let received = Received {
            kind: header.message_type(),
            flags: header.flags(),
            sequence: header.sequence_number(),
            body: &datagram[16..length],
        };
        // Messages start at multiples of four bytes (NLMSG_ALIGNTO).
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(received))
    })
}

/// What NLMSG_ERROR or NLMSG_DONE says: success, or the refusal in the kernel's words.
pub(super) fn outcome(answer: &Received<'_>, purpose: &impl Display) -> Result<(), Error> {
    let Some((code, rest)) = answer.body.split_first_chunk::<4>() else {
        // NLMSG_DONE may come without a code, which is success.
        return Ok(());
    };
    let code = i32::from_ne_bytes(*code);
    if code >= 0 {
        return Ok(());
    }
    let errno = match code.saturating_neg() {
        // No error of the kernel is larger (MAX_ERRNO in linux/err.h).
        number @ 1..=4095 => Errno::from_raw_os_error(number),
        _ => Errno::PROTO,
    };
    let purpose = purpose.to_string();
    if matches!(errno, Errno::PERM | Errno::ACCESS) {
        return Err(Error::NotPermitted { purpose, capability: "CAP_NET_ADMIN" });
    }
    Err(Error::Refused { purpose, errno, explanation: explanation(answer, rest) })
}

/// The text of NLMSGERR_ATTR_MSG.
fn explanation(answer: &Received<'_>, rest_of_done: &[u8]) -> Explanation {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    if answer.flags & NLM_F_ACK_TLVS == 0 {
        return Explanation(None);
    }
    let listed = match answer.kind {
        NLMSG_DONE => rest_of_done,
        _ => answer.body.get(ERROR_BYTES..).unwrap_or_default(),
    };
    let text = attributes(listed)
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Explanation(text)
}

fn malformed(purpose: &dyn Display, error: &DecodeError) -> Error {
    Error::Malformed { purpose: purpose.to_string(), detail: error.to_string() }
}
