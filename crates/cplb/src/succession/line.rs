//! Messages between the two processes: JSON, each in a packet of its own, perhaps with descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More than any node has sockets; SCM_MAX_FD of the kernel is 253.
const MOST_DESCRIPTORS: usize = 200;

/// Beyond what the legacy of many virtual routers takes.
const LONGEST: usize = 128 << 10;

/// The two ends of a line.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Never waits: a few small messages always fit.
pub(super) fn say(
    line: impl AsFd,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other(format!("{} descriptors are too many", descriptors.len())));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(line, &[IoSlice::new(&text)], &mut beside, flags)?;
    Ok(())
}

/// The next message; `None` when the other process is gone.
pub(super) fn hear<T: DeserializeOwned>(
    line: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(line, &mut [IoSliceMut::new(&mut text)], &mut beside, flags)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Some((serde_json::from_slice(&text[..received.bytes])?, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_in_order_and_the_end_shows() {
        let (here, there) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        say(&here, &("a", 1), &[write.as_fd(), read.as_fd()]).unwrap();
        say(&here, &("b", 2), &[]).unwrap();
        drop((here, read, write));

        let (first, descriptors) =
            hear::<(String, u8)>(&there, RecvFlags::empty()).unwrap().unwrap();
        assert_eq!(first, ("a".to_owned(), 1));
        let [write, read]: [OwnedFd; 2] = descriptors.try_into().unwrap();
        File::from(write).write_all(b"through").unwrap();
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");

        let (second, none) = hear::<(String, u8)>(&there, RecvFlags::empty()).unwrap().unwrap();
        assert_eq!((second, none.len()), (("b".to_owned(), 2), 0));
        assert!(hear::<(String, u8)>(&there, RecvFlags::empty()).unwrap().is_none());
    }

    #[test]
    fn who_speaks_to_nobody_is_told() {
        let (here, there) = pair().unwrap();
        drop(there);
        assert_eq!(say(&here, &1, &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
