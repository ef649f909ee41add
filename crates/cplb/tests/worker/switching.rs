//! Another type, other ports, a restart in the middle: who is connected notices nothing, and neither
//! does who connects. A kubelet runs Envoy and Traefik themselves.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use lab::client::{self, Client};
use rustix::process::Signal;

use crate::cluster::{BUILTIN, Cluster, Families, LONG};
use crate::envoy::ENVOY;
use crate::kubelet::{Images, Kubelet};
use crate::traefik::TRAEFIK;

/// From one request to the next of each client.
const INTERVAL: Duration = Duration::from_millis(50);
/// Clients that the kernel had accepted and a balancer had not yet when it closed its listeners.
const QUEUED: u64 = 2;
/// Traefik listens before it has read its routes, and sends away whoever comes so soon: for tens of
/// milliseconds, and what a busy machine adds.
const ROUTES_WITHIN: Duration = Duration::from_secs(3);

/// Somebody who was there before a switch.
struct Guest {
    came_by: String,
    client: Client,
}

/// A worker with a kubelet, and everybody who has come so far.
struct Story {
    guests: Vec<Guest>,
    // Dropped before the namespaces that its pods are in.
    _kubelet: Kubelet,
    cluster: Cluster,
}

impl Story {
    /// `None` where a program is missing.
    fn begin() -> Option<Self> {
        let images = [("/etc/envoy", ENVOY.given()?), ("/etc/traefik", TRAEFIK.given()?)];
        let mut cluster = Cluster::build(Families::Ipv4);
        for node in 0..3 {
            cluster.start_apiserver(node);
        }
        let worker = &mut cluster.workers[0];
        let manifests = worker.path("manifests").display().to_string();
        worker.configure(&["--manifest-dir", &manifests]);
        let kubelet = Kubelet::start(&cluster, Images::from(images));
        cluster.start_worker(0);
        cluster.await_served_by(0, &[0, 1, 2]);
        Some(Self { guests: Vec::new(), _kubelet: kubelet, cluster })
    }

    /// Somebody connects, stays, and goes on to ask.
    fn guest_at(&mut self, came_by: &str, door: SocketAddr) {
        let options = self.cluster.world.client_options(INTERVAL);
        let options = client::Options { address: door, ..options };
        let namespace = &self.cluster.host(0).namespace;
        let client = self.cluster.start_client(namespace, options);
        self.guests.push(Guest { came_by: came_by.into(), client });
    }

    fn reload(&mut self, document: &str) {
        // As systemd does: a full queue would hold the daemon up.
        drop(self.cluster.workers[0].told());
        self.cluster.workers[0].write_config(document);
        self.cluster.workers[0].daemon.send(Signal::HUP).unwrap();
        self.cluster
            .tell(&format!("SIGHUP: {}", document.lines().last().unwrap_or_default().trim()));
    }

    /// Who has the ports in the kernel's words: `cplb`, `envoy`, `traefik`.
    fn listening(&self, port: u16) -> BTreeSet<String> {
        let filter = format!("sport = :{port}");
        let output = self.cluster.on(
            0,
            &["ss", "--tcp", "--listening", "--processes", "--no-header", "--numeric", &filter],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let users = text.lines().filter_map(|line| line.split("((\"").nth(1)?.split('"').next());
        users.map(str::to_owned).collect()
    }

    fn await_alone(&self, port: u16, program: &str) {
        let wanted = BTreeSet::from([program.to_owned()]);
        self.cluster.eventually(&format!("{program} alone listens at {port}"), |_| {
            self.listening(port) == wanted
        });
    }

    /// Since `begin` nobody was cut off by the change to this type, and nobody who came was refused.
    fn assert_unnoticed(&self, to: &str, begin: Duration) {
        let end = self.cluster.now();
        for Guest { came_by, client } in &self.guests {
            self.cluster.eventually("its requests are finished", |_| client.has_finished(end));
            let changes = client.watch_changes();
            assert_eq!(changes.len(), 1, "the watch by {came_by} was cut: {changes:?}");
            let met = client.figures(&(begin..end));
            assert!(met.answered > 0, "{came_by}: {met:?}");
            assert_eq!(met.failed_connects, 0, "{came_by}: {met:?}");
            let sent_away = met.failures.values().sum::<u64>();
            assert!(met.longest_silence < ROUTES_WITHIN, "{came_by}: {met:?}");
            assert!(sent_away <= QUEUED || to == "Traefik", "{came_by}: {met:?}");
        }
    }

    fn pods(&self) -> BTreeSet<String> {
        let worker = &self.cluster.workers[0];
        let names = |folder: &str| {
            let entries = fs::read_dir(worker.path(folder)).into_iter().flatten();
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        names("manifests").into_iter().chain(names("run/nllb")).collect()
    }
}

fn document(kind: &str) -> String {
    BUILTIN.replace("Builtin", kind)
}

#[test]
fn a_change_of_the_type_cuts_nobody_off_and_sends_nobody_away() {
    let Some(mut story) = Story::begin() else { return };
    let door = story.cluster.door();
    story.guest_at("Builtin", door);
    let all = [
        ("EnvoyProxy", "envoy"),
        ("Traefik", "traefik"),
        ("Builtin", "cplb"),
        ("Traefik", "traefik"),
        ("EnvoyProxy", "envoy"),
        ("Builtin", "cplb"),
    ];
    for (kind, program) in all {
        let begin = story.cluster.now();
        story.reload(&document(kind));
        story.await_alone(door.port(), program);
        story.assert_unnoticed(kind, begin);
        story.guest_at(kind, door);
    }
    // Everybody is still there; the pods are until the last has gone.
    let begin = story.cluster.now();
    std::thread::sleep(Duration::from_secs(3));
    story.assert_unnoticed("Builtin", begin);
    story.guests.clear();
    story.cluster.eventually("all pods have ended", |_| story.pods().is_empty());
}

#[test]
fn other_ports_of_traefik_cut_nobody_off() {
    let Some(mut story) = Story::begin() else { return };
    let door = story.cluster.door();
    story.reload(&document("Traefik"));
    story.await_alone(door.port(), "traefik");
    story.guest_at("the old port", door);
    let moved = document("Traefik")
        + "      traefik: { apiServerBindPort: 17443, konnectivityServerBindPort: 17132 }\n";
    story.reload(&moved);
    story.await_alone(17443, "traefik");
    story.cluster.eventually("the old port is closed", |_| story.listening(door.port()).is_empty());
    let changes = story.guests[0].client.watch_changes();
    assert_eq!(changes.len(), 1, "the watch by the old port goes on: {changes:?}");

    // The daemon need not be there while the old one drains.
    let old = ["traefik", "traefik.json"].map(str::to_owned);
    story.cluster.stop_worker(0);
    story.cluster.start_worker(0);
    story.guest_at("the new port", "127.0.0.1:17443".parse().unwrap());
    std::thread::sleep(Duration::from_secs(3));
    assert!(old.iter().all(|it| story.pods().contains(it)), "{:?}", story.pods());
    assert_eq!(story.guests[0].client.watch_changes().len(), 1);
    story.guests.remove(0);
    story
        .cluster
        .eventually("its files are gone", |_| !old.iter().any(|it| story.pods().contains(it)));
    let left = ["cplb-nllb-2.json", "traefik-2", "traefik-2.json"];
    assert_eq!(story.pods(), left.map(str::to_owned).into());
    assert_eq!(story.guests[0].client.watch_changes().len(), 1);
}

#[test]
fn a_restart_in_the_middle_of_a_change_loses_no_pod() {
    let Some(mut story) = Story::begin() else { return };
    let door = story.cluster.door();
    story.reload(&document("EnvoyProxy"));
    story.await_alone(door.port(), "envoy");
    story.guest_at("EnvoyProxy", door);

    // Killed before the next one listens, and started again by the new document.
    story.reload(&document("Traefik"));
    let manifest = story.cluster.workers[0].path("manifests/cplb-nllb-2.json");
    story.cluster.eventually("the manifest of Traefik is there", |_| manifest.exists());
    let begin = story.cluster.now();
    story.cluster.workers[0].daemon.kill().unwrap();
    assert!(story.cluster.workers[0].daemon.wait(LONG));
    story.cluster.start_worker(0);
    story.await_alone(door.port(), "traefik");
    story.assert_unnoticed("Traefik", begin);
    story.guest_at("Traefik", door);

    // And to Builtin while nobody runs.
    let begin = story.cluster.now();
    story.cluster.stop_worker(0);
    story.cluster.workers[0].write_config(&document("Builtin"));
    story.cluster.start_worker(0);
    story.await_alone(door.port(), "cplb");
    story.assert_unnoticed("Builtin", begin);
    assert!(story.pods().contains("envoy.json") && story.pods().contains("traefik-2.json"));
    story.guests.clear();
    story.cluster.eventually("all pods have ended", |_| story.pods().is_empty());
}
