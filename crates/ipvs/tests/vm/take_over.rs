//! The address goes from one director to the next.

use std::time::{Duration, Instant};

use ipvs::{Handle, Scheduler, VirtualServer};

use crate::Test;
use crate::node::{hold, round_robin, source_hashing};
use crate::world::{Connection, VIP, World, count, eth0, vip, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("hashing_keeps_connections_across_a_take_over", || survives(Scheduler::SourceHashing, None)),
    ("maglev_keeps_connections_across_a_take_over", || survives(Scheduler::MaglevHashing, None)),
    ("hashing_with_persistence_keeps_them_too", || {
        survives(Scheduler::SourceHashing, Some(Duration::from_secs(360)));
    }),
    ("directors_that_saw_other_changes_choose_alike", same_choice),
    ("without_hashing_clients_are_told_at_once", told_at_once),
    ("clients_that_missed_the_announcement_go_on", stale_clients),
    ("a_take_over_takes_milliseconds", quick),
];

fn start(world: &World, server: &VirtualServer) -> [Handle; 3] {
    world.nodes.each_ref().map(|node| node.start(vec![server.clone()], &world.real_servers()))
}

fn ten_connections(world: &World) -> Vec<Connection> {
    (200..210).map(|last| world.client.connect_from(Some(last), vip()).unwrap()).collect()
}

/// The first node is cut off without a word, as by a crash of the machine.
fn survives(scheduler: Scheduler, persistence: Option<Duration>) {
    let world = World::new();
    let handles = start(&world, &VirtualServer { scheduler, persistence, ..round_robin(vip()) });
    world.nodes[0].take(&handles[0], VIP);
    let mut open = ten_connections(&world);
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
        let handles = start(&world, &VirtualServer { scheduler, ..round_robin(vip()) });
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
    let handles = start(&world, &round_robin(vip()));
    world.nodes[0].take(&handles[0], VIP);
    let mut open = ten_connections(&world);
    world.nodes[0].give_up(&handles[0], VIP);
    world.nodes[1].take(&handles[1], VIP);
    world.client.forget_neighbours();
    let started = Instant::now();
    let cut = open.iter_mut().filter_map(|it| it.echo().err()).count();
    assert!(cut >= 4, "{cut}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(count(&world.client.servers(6, vip())).len(), 3);
}

/// They still send to the node that gave the address away. What is established passes, what is new
/// stays there. A machine with much else to do may miss the half second in which this can be seen.
fn stale_clients() {
    assert!((0..10).any(|_| stale_clients_seen_in_time()), "this machine is too slow to tell");
}

fn stale_clients_seen_in_time() -> bool {
    let world = World::new();
    let handles = start(&world, &source_hashing());
    world.nodes[0].take(&handles[0], VIP);
    let mut open = ten_connections(&world);
    open.iter_mut().for_each(|it| it.echo().unwrap());
    let mac = world.nodes[0].namespace.run(|| eth0().mac.unwrap()).unwrap().to_string();
    let entry = ["neigh", "replace", VIP, "lladdr", &mac, "dev", "eth0", "nud", "permanent"];
    world.client.run("ip", &entry);
    world.nodes[1].take(&handles[1], VIP);
    let released = Instant::now();
    world.nodes[0].give_up(&handles[0], VIP);
    let passed: Vec<_> = open.iter_mut().map(|it| (it.server.clone(), it.echo())).collect();
    let new = world.client.servers_by_source(vip());
    if released.elapsed() > Duration::from_millis(400) {
        return false;
    }
    assert!(passed.iter().all(|(_, echo)| echo.is_ok()), "{passed:?}");
    assert_eq!(count(&new), [("node11", 10)]);
    wait_for("the first node to wind up", || world.nodes[0].ipvsadm().is_empty().then_some(()));

    // From then on all clients know the heir. What they have open goes on, also that with the
    // apiserver of the node which has just been the director.
    world.client.run("ip", &["neigh", "del", VIP, "dev", "eth0"]);
    for connection in &mut open {
        connection.echo().unwrap_or_else(|error| panic!("{}: {error}", connection.server));
    }
    assert_eq!(count(&world.client.servers_by_source(vip())).len(), 3);
    true
}

/// System calls take ten times as long here as elsewhere.
fn quick() {
    let world = World::new();
    let handle = world.nodes[0].start(vec![source_hashing()], &world.real_servers());
    let mut taken: Vec<Duration> = (0..10)
        .map(|_| {
            let started = Instant::now();
            hold(&handle, &[vip().ip()]);
            let taken = started.elapsed();
            assert_eq!(world.nodes[0].ipvsadm().len(), 4);
            handle.release(&[vip().ip()]);
            wait_for("the services to go", || world.nodes[0].ipvsadm().is_empty().then_some(()));
            taken
        })
        .collect();
    taken.sort();
    println!("services installed after {:?} to {:?}", taken[0], taken[9]);
    assert!(taken[5] < Duration::from_millis(50), "{taken:?}");
}
