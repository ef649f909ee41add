//! What systemd hears, and from whom: it takes word from the main process of a unit alone.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{controllers, notify_socket, pid, start_installed, upgraded};
use crate::common::text;

/// Systemd's end of a socket, which tells the sender of each message.
struct Systemd(UnixDatagram);

impl Systemd {
    /// What was told since the last time, each line with the process that said it.
    fn heard(&self) -> Vec<(i32, String)> {
        let mut heard = Vec::new();
        loop {
            let mut message = [0; 1024];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut beside = RecvAncillaryBuffer::new(&mut space);
            let parts = &mut [IoSliceMut::new(&mut message)];
            let Ok(received) = recvmsg(&self.0, parts, &mut beside, RecvFlags::DONTWAIT) else {
                return heard;
            };
            let sender = beside.drain().find_map(|it| match it {
                RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get()),
                _ => None,
            });
            let message = text(&message[..received.bytes]);
            heard.extend(message.lines().map(|line| (sender.unwrap(), line.to_owned())));
        }
    }
}

#[test]
fn the_old_main_process_names_the_new_one_and_says_no_more() {
    let (mut cluster, _strays, _program) = start_installed();
    let listen = |node| UnixDatagram::bind(notify_socket(&cluster.world, node)).unwrap();
    let systemd = [0, 1, 2].map(listen).map(Systemd);
    for socket in &systemd {
        set_socket_passcred(&socket.0, true).unwrap();
    }
    cluster.world.start_all().unwrap();
    let holder = cluster.settle();
    let mut main = pid(&cluster, holder);
    let heard = systemd[holder].heard();
    assert!(heard.iter().all(|(sender, _)| *sender == main), "{heard:?}");
    assert_eq!(heard.iter().filter(|(_, line)| line == "READY=1").count(), 1, "{heard:?}");

    for _ in 0..2 {
        upgraded(&cluster, holder);
        let new = pid(&cluster, holder);
        // Nobody is connected by it, so that it ends.
        cluster.eventually("the old process has ended", |cluster| {
            controllers(cluster, holder) == [new]
        });
        let heard = systemd[holder].heard();
        let expected = [
            (main, format!("MAINPID={new}")),
            (main, "STATUS=another process has taken over".to_owned()),
        ];
        assert_eq!(heard, expected);
        main = new;
    }
    kill_process(Pid::from_raw(main).unwrap(), Signal::TERM).unwrap();
    cluster.eventually("all have ended", |cluster| controllers(cluster, holder).is_empty());
    let heard = systemd[holder].heard();
    assert_eq!(heard.first(), Some(&(main, "STOPPING=1".to_owned())), "{heard:?}");
}
