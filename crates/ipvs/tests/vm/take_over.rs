//! The address goes from one director to the next.

use std::time::{Duration, Instant};

use ipvs::{Scheduler, VirtualServer};

use crate::Test;
use crate::node::round_robin;
use crate::world::{VIP, World, count, vip, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("hashing_keeps_connections_across_a_take_over", || survives(Scheduler::SourceHashing, None)),
    ("maglev_keeps_connections_across_a_take_over", || survives(Scheduler::MaglevHashing, None)),
    ("hashing_with_persistence_keeps_them_too", || {
        survives(Scheduler::SourceHashing, Some(Duration::from_secs(360)));
    }),
    ("directors_that_saw_other_changes_choose_alike", same_choice),
    ("without_hashing_clients_are_told_at_once", told_at_once),
];

/// The first node is cut off without a word, as by a crash of the machine.
fn survives(scheduler: Scheduler, persistence: Option<Duration>) {
    let world = World::new();
    let handles = world.start(&VirtualServer { scheduler, persistence, ..round_robin(vip()) });
    world.nodes[0].take(&handles[0], VIP);
    let mut open = world.client.ten_connections(vip());
    open.iter_mut().for_each(|it| it.echo().unwrap());
    world.nodes[0].run("ip", &["link", "set", "eth0", "down"]);
    world.nodes[1].take(&handles[1], VIP);
    world.client.forget_neighbours();
    open.retain(|it| it.server != "node11");
    assert!(open.len() >= 4, "too few to tell: {}", open.len());
    for connection in &mut open {
        connection.echo().unwrap_or_else(|error| panic!("{}: {error}", connection.server));
    }
    assert_eq!(world.nodes[1].parameter("net/ipv4/vs/sloppy_tcp"), "1");
}

/// The first director has seen servers come and go; the heir adds them all at once.
fn same_choice() {
    let world = World::new();
    for scheduler in [Scheduler::SourceHashing, Scheduler::MaglevHashing] {
        let handles = world.start(&VirtualServer { scheduler, ..round_robin(vip()) });
        let [one, two, three] = world.real_servers()[..] else { unreachable!() };
        world.nodes[0].take(&handles[0], VIP);
        world.client.forget_neighbours();
        handles[0].set_usable(vec![three, two]);
        wait_for("the first server to go", || (world.nodes[0].ipvsadm().len() == 3).then_some(()));
        handles[0].set_usable(vec![three, one, two]);
        wait_for("its return", || (world.nodes[0].ipvsadm().len() == 4).then_some(()));
        let first = world.client.servers_by_source(vip());
        assert_eq!(count(&first).len(), 3, "{first:?}");

        world.nodes[0].give_up(&handles[0], VIP);
        world.nodes[1].take(&handles[1], VIP);
        world.client.forget_neighbours();
        assert_eq!(world.client.servers_by_source(vip()), first, "{scheduler:?}");
        world.nodes[1].give_up(&handles[1], VIP);
    }
}

fn told_at_once() {
    let world = World::new();
    let handles = world.start(&round_robin(vip()));
    world.nodes[0].take(&handles[0], VIP);
    let mut open = world.client.ten_connections(vip());
    world.nodes[0].give_up(&handles[0], VIP);
    world.nodes[1].take(&handles[1], VIP);
    world.client.forget_neighbours();
    let started = Instant::now();
    let cut = open.iter_mut().filter_map(|it| it.echo().err()).count();
    assert!(cut >= 4, "{cut}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(count(&world.client.servers(6, vip())).len(), 3);
}
