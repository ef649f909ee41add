//! What a rendered configuration defines, whoever wrote the template: the virtual routers for the
//! status, the addresses and IPVS services to be removed after a crash, and where readiness has to be put in.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kernel::address::VirtualAddress;

use crate::heirs;
use crate::variables::{READINESS, weight};

/// A VRRP instance as keepalived will find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) virtual_router_id: u8,
    pub(crate) version: u8,
    pub(crate) priority: u8,
    pub(crate) advert_interval: Duration,
    /// Where its unicast or multicast advertisements come from, where it says so.
    pub(crate) source: Option<IpAddr>,
    pub(crate) addresses: Vec<VirtualAddress>,
    /// How much each step of the readiness file changes the priority; 0 where it is not tracked.
    pub(crate) weight: i64,
    /// Whether the rank among equal heirs changes the priority.
    pub(crate) ranked: bool,
    /// Differs when anything in the instance's block does.
    pub(crate) fingerprint: u64,
}

/// A statement with its block, if it has one.
#[derive(Debug, Default)]
struct Node {
    words: Vec<String>,
    /// Where its block begins: behind the brace.
    inside: Option<usize>,
    children: Vec<Self>,
}

/// keepalived's default where the instance names none.
const DEFAULT_PRIORITY: u8 = 100;
const DEFAULT_ADVERT_INTERVAL: Duration = Duration::from_secs(1);

/// The VRRP instances of the text; `version` is that of instances that name none.
pub(crate) fn outline(text: &str, version: u8) -> Vec<Outline> {
    let nodes = parse(text);
    let instances = nodes.iter().filter(|node| node.is("vrrp_instance"));
    instances.map(|node| read(node, group_of(&nodes, node), version)).collect()
}

/// The IPVS services of the text, as far as they are at an address and a port.
pub(crate) fn services(text: &str) -> Vec<SocketAddr> {
    let service = |node: &Node| {
        let [address, port] = node.words.get(1..3)? else { return None };
        Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
    };
    parse(text).iter().filter(|it| it.is("virtual_server")).filter_map(service).collect()
}

/// Lets every VRRP instance of a template that knows nothing of readiness track it.
///
/// Members of a sync group do so by their group: keepalived allows no other way.
pub(crate) fn track_readiness(text: &str) -> String {
    let nodes = parse(text);
    let mut places = Vec::new();
    for instance in nodes.iter().filter(|node| node.is("vrrp_instance")) {
        let group = group_of(&nodes, instance);
        let place = group.unwrap_or(instance);
        let priority = instance.number("priority").unwrap_or(DEFAULT_PRIORITY);
        // The owner of the addresses cannot change its priority.
        if priority == u8::MAX || place.weight().is_some() || instance.weight().is_some() {
            continue;
        }
        if let Some(offset) = place.inside {
            places.push((offset, weight(priority)));
        }
    }
    places.sort_unstable();
    places.dedup_by_key(|(offset, _)| *offset);
    let mut tracked = text.to_owned();
    for (offset, weight) in places.into_iter().rev() {
        tracked.insert_str(
            offset,
            &format!("\n    track_file {{\n        {READINESS} weight {weight}\n    }}\n"),
        );
    }
    tracked
}

fn read(node: &Node, group: Option<&Node>, version: u8) -> Outline {
    let addresses: Vec<VirtualAddress> = ["virtual_ipaddress", "virtual_ipaddress_excluded"]
        .iter()
        .flat_map(|block| node.children_of(block))
        .filter_map(|address| address.words.first())
        .filter_map(|word| address(word))
        .collect();
    let name = node.words.get(1).map_or("", String::as_str);
    let ipv6 = addresses.first().is_some_and(|it| it.address.is_ipv6());
    Outline {
        name: name.to_owned(),
        interface: node.word("interface").unwrap_or_default().to_owned(),
        virtual_router_id: node.number("virtual_router_id").unwrap_or_default(),
        version: if ipv6 { 3 } else { node.number("version").unwrap_or(version) },
        priority: node.number("priority").unwrap_or(DEFAULT_PRIORITY),
        advert_interval: node
            .word("advert_int")
            .and_then(|word| Duration::try_from_secs_f64(word.parse().ok()?).ok())
            .unwrap_or(DEFAULT_ADVERT_INTERVAL),
        source: ["unicast_src_ip", "mcast_src_ip"]
            .iter()
            .find_map(|keyword| node.word(keyword)?.parse().ok()),
        addresses,
        weight: node.weight().or_else(|| group?.weight()).unwrap_or_default(),
        ranked: node.tracks(&heirs::file_name(name)).is_some(),
        fingerprint: {
            let mut hasher = DefaultHasher::new();
            node.hash(&mut hasher);
            hasher.finish()
        },
    }
}

/// keepalived takes an address without a prefix length as that of a host.
fn address(word: &str) -> Option<VirtualAddress> {
    if let Ok(address) = word.parse() {
        return Some(address);
    }
    let address: IpAddr = word.parse().ok()?;
    Some(VirtualAddress { address, prefix_length: if address.is_ipv4() { 32 } else { 128 } })
}

fn group_of<'a>(nodes: &'a [Node], instance: &Node) -> Option<&'a Node> {
    let name = instance.words.get(1)?;
    nodes
        .iter()
        .filter(|node| node.is("vrrp_sync_group"))
        .find(|group| group.children_of("group").any(|member| member.words.contains(name)))
}

impl Node {
    fn is(&self, keyword: &str) -> bool {
        self.words.first().is_some_and(|word| word == keyword)
    }

    fn children_of(&self, keyword: &str) -> impl Iterator<Item = &Self> {
        self.children
            .iter()
            .filter(move |child| child.is(keyword))
            .flat_map(|child| &child.children)
    }

    fn word(&self, keyword: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.is(keyword))?;
        child.words.get(1).map(String::as_str)
    }

    fn number(&self, keyword: &str) -> Option<u8> {
        self.word(keyword)?.parse().ok()
    }

    fn tracks(&self, file: &str) -> Option<&Self> {
        self.children_of("track_file").find(|tracked| tracked.is(file))
    }

    /// The weight of the readiness file, where this block tracks it.
    fn weight(&self) -> Option<i64> {
        let tracked = self.tracks(READINESS)?;
        let weight = tracked.words.iter().position(|word| word == "weight");
        // keepalived's default.
        Some(weight.and_then(|at| tracked.words.get(at + 1)?.parse().ok()).unwrap_or(1))
    }
}

/// Reads statements and blocks as keepalived does: words, quotes, comments, braces. What is wrong
/// is left to keepalived.
fn parse(text: &str) -> Vec<Node> {
    let mut open = vec![Node::default()];
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let mut statement = Node::default();
        for (start, word) in words(line) {
            match word.as_str() {
                "{" => {
                    let mut block = std::mem::take(&mut statement);
                    if block.words.is_empty() {
                        block =
                            open.last_mut().and_then(|it| it.children.pop()).unwrap_or_default();
                    }
                    block.inside = Some(offset + start + 1);
                    open.push(block);
                }
                "}" => {
                    end(&mut open, std::mem::take(&mut statement));
                    if open.len() > 1 {
                        let block = open.pop().unwrap_or_default();
                        end(&mut open, block);
                    }
                }
                _ => statement.words.push(word),
            }
        }
        end(&mut open, statement);
        offset += line.len();
    }
    while open.len() > 1 {
        let block = open.pop().unwrap_or_default();
        end(&mut open, block);
    }
    open.pop().unwrap_or_default().children
}

fn end(open: &mut [Node], node: Node) {
    if let (Some(parent), false) = (open.last_mut(), node.words.is_empty()) {
        parent.children.push(node);
    }
}

/// Where it stands does not count.
impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.words.hash(state);
        self.children.hash(state);
    }
}

/// The words of a line and where they begin.
fn words(line: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    let mut rest = line.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        if first.is_whitespace() {
            continue;
        }
        if matches!(first, '#' | '!') {
            break;
        }
        let quoted = first == '"';
        let mut word = if quoted { String::new() } else { first.to_string() };
        while let Some((_, next)) = rest.peek().copied() {
            if quoted && next == '"' {
                rest.next();
                break;
            }
            if !quoted && (next.is_whitespace() || matches!(next, '"' | '#' | '!')) {
                break;
            }
            word.push(next);
            rest.next();
        }
        words.push((start, word));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
! A comment { with a brace
vrrp_instance a { # another {
    interface "eth 0"
    virtual_router_id 51
    priority 200
    advert_int 0.25
    unicast_src_ip 10.0.0.1
    authentication {
        auth_pass "}{"
    }
    virtual_ipaddress
    {
        10.0.0.100/24 dev eth1
        10.0.0.101
    }
}
vrrp_instance b {
    interface eth0
    virtual_ipaddress { fd00::1/64 }
    track_file {
        cplb_readiness weight -7
    }
}
"#;

    #[test]
    fn instances_are_found_with_what_they_define() {
        let found = outline(TEXT, 2);
        assert_eq!(
            found[0],
            Outline {
                name: "a".into(),
                interface: "eth 0".into(),
                virtual_router_id: 51,
                version: 2,
                priority: 200,
                advert_interval: Duration::from_millis(250),
                source: Some([10, 0, 0, 1].into()),
                addresses: vec!["10.0.0.100/24".parse().unwrap(), "10.0.0.101/32".parse().unwrap()],
                weight: 0,
                ranked: false,
                fingerprint: found[0].fingerprint,
            }
        );
        assert_ne!(found[0].fingerprint, outline(&TEXT.replace("}{", "}}"), 2)[0].fingerprint);
        assert_eq!(
            found[0].fingerprint,
            outline(&TEXT.replace("# another", "#"), 2)[0].fingerprint
        );
        assert_eq!((found[1].version, found[1].priority, found[1].weight), (3, 100, -7));
        assert_eq!(found[1].advert_interval, Duration::from_secs(1));
        assert_eq!(found[1].addresses, ["fd00::1/64".parse().unwrap()]);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn an_instance_that_knows_nothing_of_readiness_tracks_it() {
        let tracked = track_readiness(TEXT);
        let weights: Vec<i64> = outline(&tracked, 2).iter().map(|it| it.weight).collect();
        assert_eq!(weights, [-100, -7]);
        assert_eq!(track_readiness(&tracked), tracked);
    }

    #[test]
    fn members_of_a_sync_group_track_it_by_their_group() {
        let text = "vrrp_sync_group g {\n  group {\n    a\n    b\n  }\n}\n\
            vrrp_instance a {\n  priority 10\n}\nvrrp_instance b {\n  priority 10\n}\n";
        let tracked = track_readiness(text);
        assert_eq!(tracked.matches("track_file").count(), 1);
        assert_eq!(outline(&tracked, 2).iter().map(|it| it.weight).collect::<Vec<_>>(), [-5, -5]);
    }

    #[test]
    fn the_owner_of_the_addresses_is_left_alone() {
        let text = "vrrp_instance a {\n  priority 255\n}\n";
        assert_eq!(track_readiness(text), text);
    }

    #[test]
    fn services_are_those_at_an_address_and_a_port() {
        let text = "virtual_server 10.0.0.100 6443 {\n    real_server 10.0.0.11 6443 {\n    }\n}\n\
            virtual_server fd00::100 8443 {\n}\nvirtual_server fwmark 7 {\n}\n# virtual_server 10.0.0.1 1 {\n";
        let found = ["10.0.0.100:6443", "[fd00::100]:8443"].map(|it| it.parse().unwrap());
        assert_eq!(services(text), found);
        assert_eq!(services("virtual_server 10.0.0.100 {\n}\n"), []);
    }

    #[test]
    fn what_is_not_a_configuration_is_passed_over() {
        for text in ["", "}", "{", "{{{", "vrrp_instance", "vrrp_instance {", "\"", "}}a{"] {
            outline(&track_readiness(text), 2);
        }
    }
}
