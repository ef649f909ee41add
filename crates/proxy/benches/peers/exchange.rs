//! What client and backend say to one another: a request of 128 bytes that looks like a
//! ClientHello, as the first bytes of every client of an apiserver do, and says what is wanted.

/// Length of a request.
pub(crate) const REQUEST: usize = 128;

/// Length of a response.
pub(crate) const RESPONSE: usize = 512;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A response, whose first bytes say when the backend accepted the connection.
    Response,
    /// So many bytes.
    Download(u64),
    /// To send so many bytes, and then a response.
    Upload(u64),
}

/// Where in the request the wish is: in the 32 bytes called `random` of a ClientHello.
const WISH: usize = 11;

impl Wish {
    /// The request that says it.
    pub(crate) fn request(self) -> [u8; REQUEST] {
        let mut request = [0; REQUEST];
        // Record: handshake, TLS 1.0, length; message: client_hello, length, TLS 1.2 (RFC 8446, 4 and 5.1).
        request[..WISH].copy_from_slice(&[22, 3, 1, 0, 123, 1, 0, 0, 119, 3, 3]);
        let (kind, length) = match self {
            Self::Response => (0, 0),
            Self::Download(length) => (1, length),
            Self::Upload(length) => (2, length),
        };
        request[WISH] = kind;
        request[WISH + 1..WISH + 9].copy_from_slice(&length.to_be_bytes());
        request
    }

    /// What a request says.
    pub(crate) fn of(request: &[u8; REQUEST]) -> Self {
        let mut length = [0; 8];
        length.copy_from_slice(&request[WISH + 1..WISH + 9]);
        let length = u64::from_be_bytes(length);
        match request[WISH] {
            1 => Self::Download(length),
            2 => Self::Upload(length),
            _ => Self::Response,
        }
    }
}
