//! A keepalived of ours on a host.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keepalived::{Event, Instance, Keepalived, Settings, check};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vrrp::{State, Version};

use crate::segment::Segment;
use crate::{describe, wait_for};

pub(crate) struct Node {
    pub(crate) keepalived: Keepalived,
    pub(crate) settings: Settings,
    run_dir: TempDir,
    events: Mutex<Receiver<Event>>,
}

/// As k0s has them; the run directory is the node's.
pub(crate) fn settings(_host: usize) -> Settings {
    let instance = Instance {
        name: "cplb-vip-0".into(),
        interface: "eth0".into(),
        virtual_router_id: 51,
        version: Version::V2,
        priority: 200,
        advert_interval: Duration::from_secs(1),
        preempt: true,
        auth_pass: "secret12".into(),
        unicast_source: None,
        unicast_peers: Vec::new(),
        address_label: 10_000,
        addresses: vec!["10.5.0.100/24".parse().unwrap()],
    };
    Settings {
        program: None,
        watchdog: None,
        run_dir: "/nowhere".into(),
        instances: vec![instance],
        virtual_servers: Vec::new(),
        api_server_port: 6443,
        vrrp_template: None,
        virtual_servers_template: None,
    }
}

impl Node {
    /// Started and ready.
    pub(crate) fn start(segment: &Segment, host: usize, settings: &Settings) -> Self {
        // With a space, which has to be quoted.
        let run_dir = tempfile::Builder::new().prefix("run dir").tempdir().unwrap();
        let settings = Settings { run_dir: run_dir.path().to_owned(), ..settings.clone() };
        let (sender, events) = mpsc::channel();
        let tell = Arc::new(move |event| drop(sender.send(event)));
        let start = || check(&settings).unwrap().start(tell).unwrap();
        let keepalived = segment.host(host).run(start).unwrap();
        keepalived.set_ready(true);
        Self { keepalived, settings, run_dir, events: Mutex::new(events) }
    }

    pub(crate) fn apply(
        &mut self,
        segment: &Segment,
        host: usize,
    ) -> Result<keepalived::Applied, keepalived::Error> {
        let Self { keepalived, settings, .. } = self;
        segment.host(host).run(|| keepalived.apply(settings)).unwrap()
    }

    pub(crate) fn states(&self) -> Vec<State> {
        self.keepalived.status().instances.iter().map(|instance| instance.state).collect()
    }

    pub(crate) fn wait_for(&self, state: State, limit: Duration) -> Duration {
        wait_for(&format!("{state:?}"), limit, || self.states().iter().all(|it| *it == state))
    }

    pub(crate) fn assert_all(&self, state: State) {
        assert!(self.states().iter().all(|it| *it == state), "{:?}", self.states());
    }

    /// What it told since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        self.events.lock().unwrap().try_iter().map(|event| describe(&event)).collect()
    }

    pub(crate) fn wait_for_event(&self, wanted: &str, limit: Duration) {
        let mut told = Vec::new();
        wait_for(wanted, limit, || {
            told.extend(self.told());
            told.iter().any(|it| it.starts_with(wanted))
        });
    }

    pub(crate) fn pid(&self, file: &str) -> u32 {
        pid(self.run_dir.path(), file).unwrap()
    }

    /// Ends it; the directory goes with the answer.
    pub(crate) fn stop(self) -> TempDir {
        drop(self.keepalived);
        self.run_dir
    }
}

pub(crate) fn pid(run_dir: &Path, file: &str) -> Option<u32> {
    std::fs::read_to_string(run_dir.join(file)).ok()?.trim().parse().ok()
}

pub(crate) fn kill(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.cast_signed()).unwrap(), signal).unwrap();
}

/// Kills all of its keepalived.
pub(crate) fn kill_without_a_word(node: &Node) {
    let (parent, child) = (node.pid("keepalived.pid"), node.pid("keepalived-vrrp.pid"));
    // Or the parent starts another child.
    kill(parent, Signal::STOP);
    kill(child, Signal::KILL);
    kill(parent, Signal::KILL);
}
