//! A worker is restarted: its clients connect anew, and it serves from its first second.

use std::process::Command;

use rustix::process::Signal;

use crate::cluster::{CPLB, Cluster, Families, text};

#[test]
fn it_cannot_be_upgraded_as_it_runs_and_says_so() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0]);
    let run_dir = cluster.workers[0].path("run");
    let output = Command::new(CPLB).args(["upgrade", "--run-dir"]).arg(run_dir).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let told = text(&output.stderr);
    let why = "only a controller can be upgraded as it runs; restart this worker";
    assert!(told.contains(why), "{told}");

    cluster.workers[0].daemon.send(Signal::USR2).unwrap();
    cluster.eventually("the signal is refused as well", |cluster| {
        cluster.workers[0].log().contains(&format!("SIGUSR2: {why}"))
    });
    cluster.await_served_by(0, &[0]);
}
