//! The second door: konnectivity servers, checked by themselves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, Families};

/// A server on a controller that greets whoever connects by its name, until dropped.
struct Greeter {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start(cluster: &Cluster, node: usize, port: u16) -> Self {
        let namespace = &cluster.world.node(node).host().namespace;
        let listen = || TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
        let listener = namespace.run(listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match listener.accept() {
                    // Who only checks has gone already.
                    Ok((mut stream, _)) => drop(write!(stream, "server-{node}")),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Who greets at an address of a worker, each of so many times.
fn greetings(cluster: &Cluster, address: &str, times: usize) -> Vec<String> {
    let address: SocketAddr = address.parse().unwrap();
    let greeting = || {
        let mut text = String::new();
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        let Ok(mut stream) = connected else { return "refused".to_owned() };
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        match stream.read_to_string(&mut text) {
            Ok(_) => text,
            Err(error) => error.to_string(),
        }
    };
    let namespace = &cluster.host(0).namespace;
    let mut greetings: Vec<String> = (0..times).map(|_| namespace.run(greeting).unwrap()).collect();
    greetings.sort();
    greetings
}

#[test]
fn konnectivity_servers_take_turns_and_have_their_own_health() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let mut servers: Vec<Greeter> =
        (0..3).map(|node| Greeter::start(&cluster, node, 8132)).collect();
    let all = ["server-0", "server-0", "server-1", "server-1", "server-2", "server-2"];
    for door in ["127.0.0.1:7132", "[::1]:7132"] {
        cluster.eventually(&format!("all greet at {door}"), |cluster| {
            greetings(cluster, door, 6) == all
        });
    }

    // The apiserver beside it is well.
    servers.remove(1);
    let left = ["server-0", "server-0", "server-0", "server-2", "server-2", "server-2"];
    assert_eq!(greetings(&cluster, "127.0.0.1:7132", 6), left, "none is lost");
    cluster.await_served_by(0, &[0, 1, 2]);

    // The konnectivity server beside it is well.
    cluster.stop_apiserver(0);
    cluster.await_served_by(0, &[1, 2]);
    assert_eq!(greetings(&cluster, "127.0.0.1:7132", 6), left);
}

#[test]
fn the_ports_are_those_of_the_document() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    let _server = Greeter::start(&cluster, 0, 9132);
    cluster.workers[0].write_config(
        "spec:
  konnectivity: { agentPort: 9132 }
  network:
    nodeLocalLoadBalancing:
      enabled: true
      type: Builtin
      builtin: { apiServerBindPort: 17443, konnectivityServerBindPort: 17132 }
",
    );
    cluster.start_worker(0);
    cluster.eventually("the server greets", |cluster| {
        greetings(cluster, "127.0.0.1:17132", 1) == ["server-0"]
    });
    let door = "127.0.0.1:17443".parse().unwrap();
    assert_eq!(cluster.certificate(0, door).as_deref(), Some("kube-apiserver-1"));
}

#[test]
fn clusters_without_konnectivity_have_no_such_door() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.workers[0].configure(&["--no-konnectivity"]);
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0]);
    assert_eq!(greetings(&cluster, "127.0.0.1:7132", 1), ["refused"]);
}
