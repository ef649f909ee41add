//! Whether a client's first bytes may be sent to another backend as well.

/// What a client's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// The beginning of a TLS ClientHello, or nothing yet.
    Unfinished,
    /// A whole ClientHello and not one byte more. A server that gets it does nothing but answer,
    /// so any number of servers may get it.
    ClientHello,
    /// Anything else, TLS early data included: a server may have acted on it.
    Other,
}

/// TLS record type and handshake message type (RFC 8446, 5.1 and 4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Longest plaintext of one record (RFC 8446, 5.1).
const RECORD_MAX: usize = 1 << 14;

impl FirstBytes {
    /// Judges everything the client has sent so far.
    pub(crate) fn of(mut bytes: &[u8]) -> Self {
        let mut message = Message::default();
        loop {
            match bytes {
                [] => return Self::Unfinished,
                [kind, ..] if *kind != HANDSHAKE => return Self::Other,
                // The record version is 3.1 or 3.3, whatever the handshake will agree on.
                [_, major, ..] if *major != 3 => return Self::Other,
                [_, _, _, high, low, rest @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if length == 0 || length > RECORD_MAX {
                        return Self::Other;
                    }
                    let (fragment, after) = rest.split_at(length.min(rest.len()));
                    match message.append(fragment) {
                        Self::Unfinished if fragment.len() < length => return Self::Unfinished,
                        Self::Unfinished => bytes = after,
                        Self::ClientHello if fragment.len() == length && after.is_empty() => {
                            return Self::ClientHello;
                        }
                        Self::ClientHello | Self::Other => return Self::Other,
                    }
                }
                _ => return Self::Unfinished,
            }
        }
    }
}

/// A handshake message put together from records: only its header matters, and where it ends.
#[derive(Default)]
struct Message {
    header: [u8; 4],
    length: usize,
}

impl Message {
    fn append(&mut self, fragment: &[u8]) -> FirstBytes {
        let missing = self.header.iter_mut().skip(self.length);
        for (slot, byte) in missing.zip(fragment) {
            *slot = *byte;
        }
        self.length += fragment.len();

        let [kind, lengths @ ..] = self.header;
        if self.length > 0 && kind != CLIENT_HELLO {
            return FirstBytes::Other;
        }
        if self.length < self.header.len() {
            return FirstBytes::Unfinished;
        }
        let [high, middle, low] = lengths;
        let whole = self.header.len() + u32::from_be_bytes([0, high, middle, low]) as usize;
        match self.length {
            length if length < whole => FirstBytes::Unfinished,
            length if length == whole => FirstBytes::ClientHello,
            _ => FirstBytes::Other,
        }
    }
}

#[cfg(test)]
mod tests;
