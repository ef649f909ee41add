//! What can only be seen in time: these want the machine for themselves.

use std::time::{Duration, Instant};

use crate::Test;
use crate::node::{hold, source_hashing};
use crate::world::{VIP, World, count, eth0, vip, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("clients_that_missed_the_announcement_go_on", stale_clients),
    ("a_take_over_takes_milliseconds", quick),
];

/// They still send to the node that gave the address away. What is established passes, what is new
/// stays there. A machine with much else to do may miss the half second in which this can be seen.
fn stale_clients() {
    assert!((0..10).any(|_| stale_clients_seen_in_time()), "this machine is too slow to tell");
}

fn stale_clients_seen_in_time() -> bool {
    let world = World::new();
    let handles = world.start(&source_hashing());
    world.nodes[0].take(&handles[0], VIP);
    let mut open = world.client.ten_connections(vip());
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
