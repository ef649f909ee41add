//! The ways of packets to the real servers.

use std::net::SocketAddr;

use ipvs::{Forwarding, Handle, VirtualServer};

use crate::Test;
use crate::node::round_robin;
use crate::world::{VIP, VIP6, World, connect_here, count, eth0, vip, vip6};

pub(crate) const TESTS: &[Test] = &[
    ("direct_routing_ipv4_and_ipv6", direct_routing),
    ("tunnels_ipv4_and_ipv6", tunnels),
    ("nat_with_another_port", nat),
    ("only_the_holder_says_to_have_the_address", only_the_holder_answers),
    ("connections_of_the_director_itself_need_a_redirect", local_clients),
];

const EVEN: [(&str, usize); 3] = [("node11", 2), ("node12", 2), ("node13", 2)];

fn start(world: &World, servers: &[VirtualServer]) -> [Handle; 3] {
    world.nodes.each_ref().map(|node| node.start(servers.to_vec(), &world.all_real_servers()))
}

fn direct_routing() {
    let world = World::new();
    for node in &world.nodes {
        for parameter in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            assert_eq!(node.parameter(parameter), "0", "forwarding is not needed");
        }
    }
    let handles = start(&world, &[round_robin(vip()), round_robin(vip6())]);
    for (node, address) in [(0, VIP), (1, VIP6)] {
        world.nodes[node].take(&handles[node], address);
    }
    assert_eq!(count(&world.client.servers(6, vip())), EVEN);
    assert_eq!(count(&world.client.servers(6, vip6())), EVEN);
}

fn tunnels() {
    let world = World::new();
    for node in &world.nodes {
        // As some distributions have it.
        node.set_parameter("net/ipv4/conf/all/rp_filter", "1");
        node.set_parameter("net/ipv4/conf/default/rp_filter", "1");
    }
    let tunnel = |address| VirtualServer { forwarding: Forwarding::Tunnel, ..round_robin(address) };
    let handles = start(&world, &[tunnel(vip()), tunnel(vip6())]);
    for address in [VIP, VIP6] {
        world.nodes[0].take(&handles[0], address);
    }
    assert_eq!(count(&world.client.servers(6, vip())), EVEN);
    assert_eq!(count(&world.client.servers(6, vip6())), EVEN);

    let up = |name: &str| world.nodes[1].run("ip", &["link", "show", name]).contains(",UP");
    assert!(up("tunl0") && up("ip6tnl0"));
    // Direct routing from now on: nobody unpacks anything any more.
    handles[1].apply(world.nodes[1].settings(vec![round_robin(vip())])).unwrap();
    assert!(!up("tunl0") && !up("ip6tnl0"));
    let addresses = world.nodes[1].run("ip", &["-brief", "address", "show", "tunl0"]);
    assert!(!addresses.contains("10.0.0.100"), "{addresses}");
}

/// The real servers answer by way of the director: that is the network's business.
fn nat() {
    let world = World::new();
    let [director, ..] = &world.nodes;
    director.set_parameter("net/ipv4/ip_forward", "1");
    director.set_parameter("net/ipv6/conf/all/forwarding", "1");
    for node in &world.nodes[1..] {
        node.run("ip", &["route", "add", "10.0.0.200/32", "via", "10.0.0.11"]);
        node.run("ip", &["-6", "route", "add", "fd00::200/128", "via", "fd00::11"]);
    }
    let masquerading = |mut address: SocketAddr| {
        address.set_port(443);
        VirtualServer { forwarding: Forwarding::Masquerading, ..round_robin(address) }
    };
    let servers = vec![masquerading(vip()), masquerading(vip6())];
    let handle = director.start(servers.clone(), &world.all_real_servers());
    for address in [VIP, VIP6] {
        director.take(&handle, address);
    }
    assert_eq!(count(&world.client.servers(6, servers[0].address)), EVEN);
    assert_eq!(count(&world.client.servers(6, servers[1].address)), EVEN);
    assert_eq!(director.parameter("net/ipv4/conf/all/send_redirects"), "0");
    drop(handle);
    assert_eq!(director.parameter("net/ipv4/conf/all/send_redirects"), "1");
}

/// RFC 826, RFC 4861: two answers would split the clients.
fn only_the_holder_answers() {
    let world = World::new();
    let handles = start(&world, &[round_robin(vip()), round_robin(vip6())]);
    assert!(world.client.who_has(VIP).is_empty());
    assert!(world.client.who_has(VIP6).is_empty());
    for address in [VIP, VIP6] {
        world.nodes[1].take(&handles[1], address);
    }
    let mac = world.nodes[1].namespace.run(|| eth0().mac.unwrap()).unwrap();
    assert_eq!(world.client.who_has(VIP), [mac]);
    assert_eq!(world.client.who_has(VIP6), [mac]);
    // A real server asks for the client's address in its own name, so that the client's cache
    // keeps the holder.
    world.client.forget_neighbours();
    for node in &world.nodes {
        node.run("ip", &["neigh", "flush", "all"]);
    }
    assert_eq!(count(&world.client.servers(6, vip())), EVEN);
    let cached = world.client.run("ip", &["neigh", "show", VIP]);
    assert!(cached.contains(&mac.to_string()), "{cached}");

    // The parameters go back to what they were.
    let [arp_ignore, arp_announce] =
        ["arp_ignore", "arp_announce"].map(|name| format!("net/ipv4/conf/eth0/{name}"));
    world.nodes[0].set_parameter(&arp_announce, "1");
    drop(handles);
    assert_eq!(world.nodes[0].parameter(&arp_announce), "1", "somebody else's word counts");
    assert_eq!(world.nodes[1].parameter(&arp_announce), "0");
    assert_eq!(world.nodes[1].parameter(&arp_ignore), "0");
    assert_eq!(world.nodes[1].parameter("net/ipv4/vs/expire_nodest_conn"), "0");
}

/// On a node that does not hold the address it is its own apiserver that answers. On the director,
/// other real servers cannot answer: for them the source is an address of their own.
fn local_clients() {
    let world = World::new();
    let handles = start(&world, &[round_robin(vip())]);
    world.nodes[0].take(&handles[0], VIP);
    let from = |node: usize| world.nodes[node].namespace.run(connect_here(vip())).unwrap();
    assert_eq!(from(1).unwrap(), "node12");
    assert_eq!(from(2).unwrap(), "node13");
    let answers: Vec<_> = (0..3).map(|_| from(0)).collect();
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1, "{answers:?}");
    // A redirect in the output chain comes before IPVS.
    let rule = "-t nat -A OUTPUT -p tcp -d 10.0.0.100 --dport 6443 -j REDIRECT --to-ports 6443";
    world.nodes[0].run("iptables-legacy", &rule.split(' ').collect::<Vec<_>>());
    for _ in 0..3 {
        assert_eq!(from(0).unwrap(), "node11");
    }
    assert_eq!(count(&world.client.servers(6, vip())), EVEN);
}
