//! Worlds of namespaces with real apiserver processes in them; the virtual IP is put on a node by hand. Needs root or
//! user namespaces.

// Without the usual harness clippy does not see that these are tests.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::{Addresses, VirtualAddress};
use kernel::netlink::{Protocol, Socket};
use kernel::netns;
use lab::apiserver;
use lab::client::Client;
use lab::observer::Observer;
use lab::world::{Launch, Plan, State, World};

const VIRTUAL: &str = "10.0.0.100/24";
/// What the tests wait for comes much sooner.
const LIMIT: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "lab-apiserver") {
        return serve(&arguments[3]);
    }
    netns::isolate().expect("these tests need root or user namespaces");
    let tests: [(&str, fn()); 6] = [
        ("hosts_reach_one_another_until_cut", hosts_reach_one_another_until_cut),
        ("the_kernel_tells_who_holds", the_kernel_tells_who_holds),
        ("the_client_sees_who_answers", the_client_sees_who_answers),
        (
            "a_frozen_apiserver_is_a_handshake_without_end",
            a_frozen_apiserver_is_a_handshake_without_end,
        ),
        ("replicas_share_their_endpoints", replicas_share_their_endpoints),
        ("nothing_is_left", nothing_is_left),
    ];
    let wanted = arguments.get(1).filter(|first| !first.starts_with('-'));
    for (name, test) in tests {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            println!("test {name}");
            test();
        }
    }
}

fn serve(options: &str) {
    let options: apiserver::Options = serde_json::from_str(options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(apiserver::run(options)).unwrap();
}

fn world() -> World {
    let program = std::env::current_exe().unwrap();
    let virtual_address: VirtualAddress = VIRTUAL.parse().unwrap();
    World::build(Plan::new(&program, "", &[virtual_address], 3).unwrap()).unwrap()
}

/// A world whose apiservers all answer.
fn world_with_apiservers() -> World {
    let mut world = world();
    for node in 0..3 {
        world.node_mut(node).apiserver.start().unwrap();
    }
    for node in 0..3 {
        eventually("an apiserver answers", || get(&world, node, "/readyz").0 == "200");
    }
    world
}

fn virtual_ip() -> IpAddr {
    VIRTUAL.parse::<VirtualAddress>().unwrap().address
}

fn give(world: &World, node: usize) {
    let minute = Duration::from_secs(60);
    on_interface(world, node, |addresses, link| {
        addresses.hold(link, &VIRTUAL.parse().unwrap(), minute).unwrap();
    });
}

fn take(world: &World, node: usize) {
    on_interface(world, node, |addresses, link| {
        assert!(addresses.release(link, &VIRTUAL.parse().unwrap()).unwrap());
    });
}

fn on_interface(world: &World, node: usize, work: impl FnOnce(&mut Addresses, u32) + Send) {
    let inside = || {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let links = kernel::link::list(&mut socket).unwrap();
        let link = links.iter().find(|link| link.name == "eth0").unwrap();
        work(&mut Addresses::open().unwrap(), link.index);
    };
    world.node(node).host().namespace.run(inside).unwrap();
}

/// Status code and body of a GET with the administrator's certificate, by curl from the client's host.
fn get(world: &World, node: usize, path: &str) -> (String, String) {
    let file = |name: &str| world.directory().join(name).display().to_string();
    let url = format!("https://{}:6443{path}", world.node(node).host().address());
    let output = world
        .client()
        .command("curl")
        .args(["--silent", "--max-time", "2", "--write-out", "\n%{http_code}"])
        .args([
            "--cacert",
            &file("ca.crt"),
            "--cert",
            &file("admin.crt"),
            "--key",
            &file("admin.key"),
        ])
        .arg(url)
        .output(LIMIT)
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.to_owned(), body.to_owned())
}

fn connects(world: &World, node: usize) -> bool {
    let address = (world.node(node).host().address(), 6443).into();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300));
    match world.client().namespace.run(connect).unwrap() {
        Ok(_) => true,
        // Refused by the host: it is reached.
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn hosts_reach_one_another_until_cut() {
    let world = world();
    assert_eq!(world.node(1).host().address(), IpAddr::from([10, 0, 0, 12]));
    eventually("node 2 is reached", || connects(&world, 1));
    world.cut(1).unwrap();
    assert!(!connects(&world, 1));
    assert!(connects(&world, 2));
    world.heal(1).unwrap();
    eventually("node 2 is reached again", || connects(&world, 1));
}

fn the_kernel_tells_who_holds() {
    let world = world();
    let namespaces: Vec<_> = world.nodes().iter().map(|node| &*node.host().namespace).collect();
    let origin = Instant::now();
    let observer = Observer::start(&namespaces, virtual_ip(), origin).unwrap();
    assert_eq!(world.holders(virtual_ip()).unwrap(), Vec::<usize>::new());

    give(&world, 0);
    give(&world, 2);
    assert_eq!(world.holders(virtual_ip()).unwrap(), [0, 2]);
    eventually("the observer sees both", || observer.holders() == [0, 2]);
    std::thread::sleep(Duration::from_millis(50));
    take(&world, 0);
    eventually("the observer sees one", || observer.holders() == [2]);

    let whole = Duration::ZERO..origin.elapsed();
    let two = observer.holdings().time_with(&whole, |holders| holders == 2);
    assert!(two >= Duration::from_millis(50), "two holders for {two:?}");
    assert_eq!(observer.holdings().changes().len(), 3);
}

fn the_client_sees_who_answers() {
    let mut world = world_with_apiservers();
    give(&world, 1);
    let origin = Instant::now();
    let options = world.client_options(Duration::from_millis(5));
    let client = Client::start(&world.client().namespace, options, origin).unwrap();
    eventually("the client has an answer", || client.first_answer().is_some());
    let window = client.first_answer().unwrap()..origin.elapsed() + Duration::from_secs(1);
    std::thread::sleep(Duration::from_millis(1100));

    let figures = client.figures(&window);
    println!("  a quiet second: {figures:?}");
    assert!(figures.answered > 100, "{figures:?}");
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_eq!(figures.replicas.keys().collect::<Vec<_>>(), ["controller-2"]);
    assert!(client.watch_changes()[0].established);

    let killed = origin.elapsed();
    world.node_mut(1).apiserver.kill().unwrap();
    assert!(world.node_mut(1).apiserver.wait(LIMIT));
    std::thread::sleep(Duration::from_millis(300));
    world.node_mut(1).apiserver.start().unwrap();
    eventually("the client is served again", || {
        let now = origin.elapsed();
        client.figures(&(now - Duration::from_millis(50)..now)).answered > 0
    });
    let figures = client.figures(&(killed..origin.elapsed()));
    println!("  killed and restarted: {figures:?}");
    assert!(figures.longest_silence >= Duration::from_millis(300), "{figures:?}");
    assert!(figures.failures["connect: connection refused"] > 10, "{figures:?}");
    eventually("the watch is back", || {
        let established: Vec<bool> =
            client.watch_changes().iter().map(|change| change.established).collect();
        established == [true, false, true]
    });
}

fn a_frozen_apiserver_is_a_handshake_without_end() {
    let mut world = world_with_apiservers();
    give(&world, 0);
    world.node_mut(0).apiserver.freeze().unwrap();
    assert_eq!(world.node_mut(0).apiserver.state(), State::Frozen);
    let origin = Instant::now();
    let mut options = world.client_options(Duration::from_millis(50));
    options.deadline = Duration::from_millis(200);
    let client = Client::start(&world.client().namespace, options, origin).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    let figures = client.figures(&(Duration::ZERO..Duration::from_millis(300)));
    assert_eq!(figures.answered, 0);
    assert!(figures.failed_handshakes > 0, "{figures:?}");
    assert_eq!(figures.failed_connects, 0, "{figures:?}");

    world.node_mut(0).apiserver.thaw().unwrap();
    eventually("it answers again", || {
        let now = origin.elapsed();
        client.figures(&(now - Duration::from_millis(200)..now)).answered > 0
    });
}

fn replicas_share_their_endpoints() {
    let mut world = world_with_apiservers();
    let path = "/api/v1/namespaces/default/endpoints/kubernetes";
    let all = r#"[{"ip":"10.0.0.11"},{"ip":"10.0.0.12"},{"ip":"10.0.0.13"}]"#;
    eventually("all are listed", || get(&world, 2, path).1.contains(all));

    world.node_mut(0).apiserver.stop().unwrap();
    assert!(world.node_mut(0).apiserver.wait(LIMIT));
    assert_eq!(world.node_mut(0).apiserver.state(), State::Ended { code: Some(0) });
    let two = r#"[{"ip":"10.0.0.12"},{"ip":"10.0.0.13"}]"#;
    eventually("who left is not listed", || get(&world, 2, path).1.contains(two));
    eventually("nor at the other", || get(&world, 1, path).1.contains(two));
}

fn nothing_is_left() {
    let mut world = world();
    world.node_mut(0).apiserver.replace(Launch::new("sleep").argument("60"));
    world.node_mut(0).apiserver.start().unwrap();
    let mut child = world.client().command("sleep").arg("60").spawn().unwrap();
    let directory = world.directory().to_owned();
    assert!(directory.is_dir());
    drop(world);
    assert!(!Path::new(&directory).exists());
    child.kill().unwrap();
    child.wait().unwrap();
}
