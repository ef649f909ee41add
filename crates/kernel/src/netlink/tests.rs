use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use proptest::prelude::*;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;
use crate::netns::Namespace;
use crate::test_cable::run;

// linux/netfilter/nfnetlink.h and nf_tables.h
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 0xa00;
const NFT_MSG_NEWCHAIN: u16 = 0xa03;

fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let namespace =
        Namespace::new().expect("these tests make network namespaces: run them as root");
    namespace.run(work).unwrap()
}

/// An nfnetlink message: `struct nfgenmsg` for IPv4 (resource id 10 is nftables), then one string
/// attribute of type 1, a table's name.
fn nfnetlink(kind: u16, flags: u16, table: &str) -> Message {
    let mut body = vec![2, 0, 0, 10];
    if !table.is_empty() {
        let length = 4 + table.len() as u16 + 1;
        body.extend(length.to_ne_bytes());
        body.extend(1_u16.to_ne_bytes());
        body.extend(table.bytes());
        body.resize(body.len() + 1, 0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    Message { kind, flags, body }
}

#[test]
fn a_refusal_carries_the_words_of_the_kernel() {
    inside(|| {
        let mut link = LinkMessage::default();
        let unknown = LinkInfo::Kind(InfoKind::Other("perpetuum".to_owned()));
        link.attributes.push(LinkAttribute::LinkInfo(vec![unknown]));
        let message = Message::typed(&RouteNetlinkMessage::NewLink(link), NLM_F_CREATE);
        let mut socket = Socket::open(Protocol::Route).unwrap();
        assert_eq!(
            socket.request(&message, "make a link").unwrap_err().to_string(),
            "the kernel refused to make a link: Operation not supported (os error 95) (Unknown \
             device type)"
        );
    });
}

#[test]
fn a_refusal_without_words_has_none() {
    inside(|| {
        let mut link = LinkMessage::default();
        link.header.index = 4711;
        let message = Message::typed(&RouteNetlinkMessage::DelLink(link), 0);
        let mut socket = Socket::open(Protocol::Route).unwrap();
        assert_eq!(
            socket.request(&message, "remove a link").unwrap_err().to_string(),
            "the kernel refused to remove a link: No such device (os error 19)"
        );
    });
}

#[test]
fn a_missing_capability_is_named() {
    inside(|| {
        let mut kept = capabilities(None).unwrap();
        kept.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, kept).unwrap();
        let message = Message::typed(&RouteNetlinkMessage::DelLink(LinkMessage::default()), 0);
        let mut socket = Socket::open(Protocol::Route).unwrap();
        assert_eq!(
            socket.request(&message, "remove a link").unwrap_err().to_string(),
            "not permitted to remove a link: run as root, or grant CAP_NET_ADMIN"
        );
    });
}

#[test]
fn a_listing_of_many_datagrams_is_complete() {
    inside(|| {
        for index in 0..200 {
            run("ip", &["link", "add", &format!("br{index}"), "type", "bridge"]);
        }
        let links = crate::link::list(&mut Socket::open(Protocol::Route).unwrap()).unwrap();
        assert_eq!(links.len(), 201);
        assert_eq!(links[200].name, "br199");
    });
}

#[test]
fn a_batch_is_done_when_each_message_is_acknowledged() {
    inside(|| {
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        let batch = [
            nfnetlink(NFNL_MSG_BATCH_BEGIN, 0, ""),
            nfnetlink(NFT_MSG_NEWTABLE, NLM_F_ACK, "one"),
            nfnetlink(NFT_MSG_NEWTABLE, NLM_F_ACK, "two"),
            nfnetlink(NFNL_MSG_BATCH_END, 0, ""),
        ];
        socket.batch(&batch, "add two tables").unwrap();
        assert_eq!(run("nft", &["list", "tables"]), "table ip one\ntable ip two\n");
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_leaves_the_socket_usable() {
    inside(|| {
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        let batch = [
            nfnetlink(NFNL_MSG_BATCH_BEGIN, 0, ""),
            nfnetlink(NFT_MSG_NEWCHAIN, NLM_F_ACK, "missing"),
            nfnetlink(NFT_MSG_NEWTABLE, NLM_F_ACK, "one"),
            nfnetlink(NFNL_MSG_BATCH_END, 0, ""),
        ];
        let error = socket.batch(&batch, "add a chain").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert_eq!(run("nft", &["list", "tables"]), "");

        // The acknowledgement of the third message is still in the socket, and must not count.
        let good = [&batch[..1], &batch[2..]].concat();
        socket.batch(&good, "add a table").unwrap();
        assert_eq!(run("nft", &["list", "tables"]), "table ip one\n");
        assert_eq!(socket.batch(&batch, "add a chain").unwrap_err().errno(), Some(Errno::NOENT));
    });
}

/// The kernel passes over messages below NLMSG_MIN_TYPE without a word (`netlink_rcv_skb`).
#[test]
fn a_request_without_an_answer_ends_all_the_same() {
    inside(|| {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let message = Message { kind: netlink_packet_core::NLMSG_NOOP, flags: 0, body: Vec::new() };
        let started = std::time::Instant::now();
        let error = socket.dump(&message, "do nothing", |_| Ok(Some(()))).unwrap_err();
        assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
        let took = started.elapsed();
        assert!(took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
    });
}

#[test]
fn messages_are_numbered_padded_and_marked_as_requests() {
    let mut datagram = Vec::new();
    Message { kind: 0x0102, flags: NLM_F_ACK, body: vec![0xaa; 5] }.write(7, 0, &mut datagram);
    let expected = [
        &21_u32.to_ne_bytes()[..],
        &0x0102_u16.to_ne_bytes(),
        &5_u16.to_ne_bytes(),
        &7_u32.to_ne_bytes(),
        &[0; 4],
        &[0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0],
    ];
    assert_eq!(datagram, expected.concat());
}

#[test]
fn numbering_starts_again_before_it_overflows() {
    inside(|| {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        socket.sequence = u32::MAX / 2;
        for _ in 0..3 {
            assert_eq!(crate::link::list(&mut socket).unwrap().len(), 1);
        }
        assert_eq!(socket.sequence, 2);
    });
}

#[test]
fn a_cut_datagram_is_an_error_after_its_whole_messages() {
    let mut datagram = Vec::new();
    let message = Message { kind: 16, flags: 0, body: vec![1, 2, 3, 4] };
    message.write(1, 0, &mut datagram);
    message.write(2, 0, &mut datagram);
    datagram.pop();
    let read: Vec<_> = messages(&datagram, &"read").collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].as_ref().unwrap().body, [1, 2, 3, 4]);
    assert!(matches!(read[1], Err(Error::Malformed { .. })));
}

proptest! {
    #[test]
    fn no_datagram_makes_the_readers_panic(
        kind in prop_oneof![Just(2_u16), Just(3), 16_u16..32],
        flags: u16,
        body in prop::collection::vec(any::<u8>(), 0..200),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut datagram = Vec::new();
        Message { kind, flags, body }.write(1, 0, &mut datagram);
        datagram.extend(tail);
        for received in messages(&datagram, &"read") {
            let Ok(received) = received else { break };
            outcome(&received, &"read").ok();
            crate::link::Link::parse(&received);
            crate::link::Link::parse_gone(&received);
            crate::address::Found::parse(&received);
        }
    }
}
