//! Debian's keepalived on a host of a segment.

use std::fmt::Write;
use std::fs::{self, File};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vrrp::Version;

use crate::common::{Cluster, Segment, wait_for};

/// A running keepalived; dropping it kills it.
pub(crate) struct Keepalived {
    process: Child,
    directory: TempDir,
}

/// What keepalived says of packets it does not like, and of itself when it is in trouble.
const COMPLAINTS: [&str; 17] = [
    "bogus",
    "cannot",
    "checksum",
    "conflict",
    "differ",
    "dropped",
    "duplicate",
    "error",
    "expect",
    "failed",
    "ignor",
    "incorrect",
    "invalid",
    "mismatch",
    "not present",
    "unable",
    "wrong",
];

impl Keepalived {
    pub(crate) fn start(segment: &Segment, host: usize, cluster: &Cluster, priority: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("keepalived.conf"), configuration(segment, host, cluster, priority))
            .unwrap();
        let log = File::create(path("log")).unwrap();
        let mut command = Command::new("keepalived");
        command
            .args(["--dont-fork", "--no-syslog", "--log-console", "--log-detail", "--vrrp"])
            .arg("--use-file")
            .arg(path("keepalived.conf"))
            .arg("--pid")
            .arg(path("pid"))
            .arg("--vrrp_pid")
            .arg(path("vrrp_pid"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = segment.host(host).spawn(command).expect("needs keepalived");
        let keepalived = Self { process, directory };
        keepalived.wait_until("BACKUP", Duration::from_secs(3));
        keepalived
    }

    /// "BACKUP", "MASTER", "FAULT" or "" as its log has it.
    pub(crate) fn state(&self) -> String {
        let log = self.log();
        let entered = log.lines().rev().find_map(|line| line.split_once(") Entering "));
        entered.and_then(|(_, state)| state.split_once(' ')).map_or("", |(state, _)| state).into()
    }

    pub(crate) fn wait_until(&self, state: &str, limit: Duration) -> Duration {
        let in_vain = || format!("keepalived is {state}");
        wait_for(&in_vain(), limit, || self.state() == state)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Ends it in good order: priority 0, addresses removed.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        self.assert_no_complaints();
    }

    /// Ends it as a crash does: nothing is sent or removed.
    pub(crate) fn crash(mut self) {
        // The parent would restart the child, or take it along in good order.
        self.signal(Signal::STOP);
        let child = fs::read_to_string(self.directory.path().join("vrrp_pid")).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        kill_process(child, Signal::KILL).unwrap();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.assert_no_complaints();
    }

    /// The lines of its log that an operator would worry about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let complains = |line: &&str| {
            let line = line.to_lowercase();
            COMPLAINTS.iter().any(|word| line.contains(word))
        };
        self.log().lines().filter(complains).map(str::to_owned).collect()
    }

    fn assert_no_complaints(&self) {
        assert_eq!(self.complaints(), [""; 0]);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its child follows it (PR_SET_PDEATHSIG), and removes the addresses.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("keepalived's log:\n{}", self.log());
        }
    }
}

/// As k0s writes it: the node that starts first stays, all have the same priority.
fn configuration(segment: &Segment, host: usize, cluster: &Cluster, priority: u8) -> String {
    let mut text = format!(
        "vrrp_instance test {{
            state BACKUP
            interface eth0
            virtual_router_id 51
            version {version}
            priority {priority}
            advert_int {interval}
            virtual_ipaddress {{
                {address}
            }}\n",
        version = if cluster.version == Version::V2 { 2 } else { 3 },
        interval = cluster.interval.as_secs_f32(),
        address = cluster.address,
    );
    if !cluster.is_ipv4() {
        text += "native_ipv6\n";
    }
    if let Some(password) = cluster.password {
        writeln!(text, "authentication {{\nauth_type PASS\nauth_pass {password}\n}}").unwrap();
    }
    if !cluster.unicast.is_empty() {
        writeln!(text, "unicast_src_ip {}\nunicast_peer {{", segment.source(host, cluster))
            .unwrap();
        for peer in segment.peers(host, cluster) {
            writeln!(text, "{peer}").unwrap();
        }
        text += "}\n";
    }
    text + "}\n"
}
