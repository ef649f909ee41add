//! nf_tables messages (linux/netfilter/nf_tables.h) to bytes and back: just the ones a redirect
//! needs.
//!
//! All numbers in attributes are big endian.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

use crate::netlink::{Message, Received, attributes};
use crate::redirect::Rule;

/// Before every other destination NAT, which sits at NF_IP_PRI_NAT_DST: the first NAT chain that
/// decides is the only one.
const PRIORITY: i32 = libc::NF_IP_PRI_NAT_DST - 10;

/// `struct nfgenmsg`, before the attributes of every message.
const HEADER_BYTES: usize = 4;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_TABLE_OWNER: u16 = 7;
const NFT_TABLE_F_OWNER: u32 = 2;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_REDIR_FLAGS: u16 = 3;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// NFTNL_UDATA_RULE_COMMENT of libnftnl: the type byte of a comment that `nft` prints.
const USERDATA_COMMENT: u8 = 0;

/// A base chain of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    hook: libc::c_int,
}

/// Connections from other hosts, and those of this host, which do not pass the first.
pub(super) const CHAINS: [Chain; 2] = [
    Chain { name: "prerouting", hook: libc::NF_INET_PRE_ROUTING },
    Chain { name: "output", hook: libc::NF_INET_LOCAL_OUT },
];

impl Chain {
    /// Those of the rules that belong here.
    pub(super) fn rules<'a>(&self, rules: &'a [Rule]) -> impl Iterator<Item = &'a Rule> {
        let arriving = self.hook == libc::NF_INET_PRE_ROUTING;
        rules.iter().filter(move |rule| !arriving || rule.is_for_arriving())
    }
}

/// A table as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundTable {
    pub(super) name: String,
    /// The netlink port of the socket that owns it.
    pub(super) owner: Option<u32>,
}

/// A rule as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundRule {
    pub(super) table: String,
    pub(super) chain: String,
    pub(super) comment: Option<String>,
    pub(super) packets: u64,
}

/// Puts messages into one batch: the kernel applies all of them at once, or none.
pub(super) fn transaction(messages: Vec<Message>) -> Vec<Message> {
    let bound = |kind: libc::c_int| {
        let subsystem = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
        let body = vec![libc::AF_UNSPEC as u8, 0, subsystem[0], subsystem[1]];
        Message { kind: kind as u16, flags: 0, body }
    };
    let mut batch = vec![bound(libc::NFNL_MSG_BATCH_BEGIN)];
    batch.extend(messages);
    batch.push(bound(libc::NFNL_MSG_BATCH_END));
    batch
}

/// An empty table with both chains.
pub(super) fn create_table(table: &str, owned: bool) -> Vec<Message> {
    let mut body = Body::new();
    body.string(NFTA_TABLE_NAME, table);
    body.number(NFTA_TABLE_FLAGS, if owned { NFT_TABLE_F_OWNER } else { 0 });
    let mut messages = vec![body.message(libc::NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL)];
    messages.extend(CHAINS.iter().map(|chain| create_chain(table, chain)));
    messages
}

pub(super) fn delete_table(table: &str) -> Message {
    let mut body = Body::new();
    body.string(NFTA_TABLE_NAME, table);
    body.message(libc::NFT_MSG_DELTABLE, 0)
}

/// Every rule in the chains it belongs to.
pub(super) fn create_rules(table: &str, rules: &[Rule]) -> Vec<Message> {
    CHAINS
        .iter()
        .flat_map(|chain| chain.rules(rules).map(|rule| create_rule(table, chain, rule)))
        .collect()
}

/// Deletes the rules of all chains.
pub(super) fn flush_rules(table: &str) -> Message {
    let mut body = Body::new();
    body.string(NFTA_RULE_TABLE, table);
    body.message(libc::NFT_MSG_DELRULE, 0)
}

/// Asks for all tables of family inet.
pub(super) fn list_tables() -> Message {
    Body::new().question(libc::NFT_MSG_GETTABLE)
}

/// Asks for the rules of one table. Linux before 4.9 answers with those of all tables.
pub(super) fn list_rules(table: &str) -> Message {
    let mut body = Body::new();
    body.string(NFTA_RULE_TABLE, table);
    body.question(libc::NFT_MSG_GETRULE)
}

pub(super) fn read_table(received: &Received<'_>) -> Option<FoundTable> {
    let mut found = FoundTable { name: String::new(), owner: None };
    for (kind, value) in received.attributes(HEADER_BYTES) {
        match kind {
            NFTA_TABLE_NAME => found.name = text(value),
            NFTA_TABLE_OWNER => found.owner = Some(u32::from_be_bytes(value.try_into().ok()?)),
            _ => {}
        }
    }
    Some(found)
}

pub(super) fn read_rule(received: &Received<'_>) -> FoundRule {
    let mut found =
        FoundRule { table: String::new(), chain: String::new(), comment: None, packets: 0 };
    for (kind, value) in received.attributes(HEADER_BYTES) {
        match kind {
            NFTA_RULE_TABLE => found.table = text(value),
            NFTA_RULE_CHAIN => found.chain = text(value),
            NFTA_RULE_USERDATA => found.comment = read_comment(value),
            NFTA_RULE_EXPRESSIONS => found.packets = read_packets(value).unwrap_or_default(),
            _ => {}
        }
    }
    found
}

fn create_chain(table: &str, chain: &Chain) -> Message {
    let mut body = Body::new();
    body.string(NFTA_CHAIN_TABLE, table);
    body.string(NFTA_CHAIN_NAME, chain.name);
    body.nested(NFTA_CHAIN_HOOK, |hook| {
        hook.number(NFTA_HOOK_HOOKNUM, chain.hook as u32);
        hook.number(NFTA_HOOK_PRIORITY, PRIORITY.cast_unsigned());
    });
    body.number(NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32);
    body.string(NFTA_CHAIN_TYPE, "nat");
    body.message(libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE)
}

/// `ip daddr VIP tcp dport PORT counter redirect to :TO comment "cplb: ..."`, in the steps `nft
/// --debug=netlink` shows for it.
fn create_rule(table: &str, chain: &Chain, rule: &Rule) -> Message {
    // Offsets of the destination address in the IPv4 and the IPv6 header.
    let (protocol, offset, address) = match rule.vip {
        IpAddr::V4(address) => (libc::NFPROTO_IPV4, 16, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::NFPROTO_IPV6, 24, address.octets().to_vec()),
    };
    let mut body = Body::new();
    body.string(NFTA_RULE_TABLE, table);
    body.string(NFTA_RULE_CHAIN, chain.name);
    body.nested(NFTA_RULE_EXPRESSIONS, |list| {
        meta_is(list, libc::NFT_META_NFPROTO, protocol as u8);
        payload_is(list, libc::NFT_PAYLOAD_NETWORK_HEADER, offset, &address);
        meta_is(list, libc::NFT_META_L4PROTO, libc::IPPROTO_TCP as u8);
        payload_is(list, libc::NFT_PAYLOAD_TRANSPORT_HEADER, 2, &rule.port.to_be_bytes());
        expression(list, "counter", |data| {
            data.bytes(NFTA_COUNTER_BYTES, &0_u64.to_be_bytes());
            data.bytes(NFTA_COUNTER_PACKETS, &0_u64.to_be_bytes());
        });
        expression(list, "immediate", |data| {
            data.number(NFTA_IMMEDIATE_DREG, libc::NFT_REG_1 as u32);
            data.nested(NFTA_IMMEDIATE_DATA, |value| {
                value.bytes(NFTA_DATA_VALUE, &rule.to.to_be_bytes());
            });
        });
        expression(list, "redir", |data| {
            data.number(NFTA_REDIR_REG_PROTO_MIN, libc::NFT_REG_1 as u32);
            data.number(NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
        });
    });
    body.bytes(NFTA_RULE_USERDATA, &comment(&rule.comment()));
    body.message(libc::NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND)
}

fn meta_is(list: &mut Body, key: libc::c_int, value: u8) {
    expression(list, "meta", |data| {
        data.number(NFTA_META_DREG, libc::NFT_REG_1 as u32);
        data.number(NFTA_META_KEY, key as u32);
    });
    equals(list, &[value]);
}

fn payload_is(list: &mut Body, base: libc::c_int, offset: u32, value: &[u8]) {
    expression(list, "payload", |data| {
        data.number(NFTA_PAYLOAD_DREG, libc::NFT_REG_1 as u32);
        data.number(NFTA_PAYLOAD_BASE, base as u32);
        data.number(NFTA_PAYLOAD_OFFSET, offset);
        data.number(NFTA_PAYLOAD_LEN, value.len() as u32);
    });
    equals(list, value);
}

fn equals(list: &mut Body, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.number(NFTA_CMP_SREG, libc::NFT_REG_1 as u32);
        data.number(NFTA_CMP_OP, libc::NFT_CMP_EQ as u32);
        data.nested(NFTA_CMP_DATA, |bytes| bytes.bytes(NFTA_DATA_VALUE, value));
    });
}

fn expression(list: &mut Body, name: &str, write: impl FnOnce(&mut Body)) {
    list.nested(NFTA_LIST_ELEM, |element| {
        element.string(NFTA_EXPR_NAME, name);
        element.nested(NFTA_EXPR_DATA, write);
    });
}

/// A type byte, a length byte, and the text with its terminating zero.
fn comment(text: &str) -> Vec<u8> {
    let mut userdata = vec![USERDATA_COMMENT, text.len() as u8 + 1];
    userdata.extend_from_slice(text.as_bytes());
    userdata.push(0);
    userdata
}

fn read_comment(userdata: &[u8]) -> Option<String> {
    match userdata {
        [USERDATA_COMMENT, length, rest @ ..] => rest.get(..usize::from(*length)).map(text),
        _ => None,
    }
}

/// The packets of the first counter among the expressions.
fn read_packets(expressions: &[u8]) -> Option<u64> {
    let counter = attributes(expressions).map(|(_, element)| element).find(|element| {
        find(element, NFTA_EXPR_NAME).is_some_and(|name| text(name) == "counter")
    })?;
    let packets = find(find(counter, NFTA_EXPR_DATA)?, NFTA_COUNTER_PACKETS)?;
    Some(u64::from_be_bytes(packets.try_into().ok()?))
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// The attributes of a message, or of a nested attribute, being written.
struct Body(Vec<u8>);

impl Body {
    /// Begins with a `struct nfgenmsg` of family inet.
    fn new() -> Self {
        Self(vec![libc::NFPROTO_INET as u8, 0, 0, 0])
    }

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = value.len() as u16 + 4;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn string(&mut self, kind: u16, value: &str) {
        let mut terminated = value.as_bytes().to_vec();
        terminated.push(0);
        self.bytes(kind, &terminated);
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let mut inner = Self(Vec::new());
        write(&mut inner);
        self.bytes(kind | libc::NLA_F_NESTED as u16, &inner.0);
    }

    /// A change, acknowledged one by one.
    fn message(self, kind: libc::c_int, flags: u16) -> Message {
        Message { flags: flags | NLM_F_ACK, ..self.question(kind) }
    }

    fn question(self, kind: libc::c_int) -> Message {
        let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
        Message { kind: subsystem << 8 | kind as u16, flags: 0, body: self.0 }
    }
}
