//! A process that dies in the middle: there is one holder all the same.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{
    DOCUMENT, controllers, install, pid, script, seconds, start, start_installed, the_real_one,
    upgraded,
};
use crate::common::{CPLB, Cluster, LONG};

#[test]
fn a_process_killed_in_the_middle_leaves_one_holder() {
    let (mut cluster, _strays) = start(DOCUMENT);
    let begin = cluster.now();
    upgraded(&cluster, cluster.holder());
    let whole = cluster.now() - begin;
    let mut taken_over = 0;
    // Whatever it is at then, on this machine.
    for percent in [20, 60, 100, 200, 500] {
        let (holder, after) = (cluster.settle(), whole * percent / 100);
        let old = pid(&cluster, holder);
        let run_dir = cluster.world.node(holder).run_dir.clone();
        let asking = Command::new(CPLB).args(["upgrade", "--run-dir"]).arg(run_dir).spawn();
        let mut asking = asking.unwrap();
        let begin = cluster.now();
        std::thread::sleep(after);
        kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
        asking.wait().unwrap();
        cluster.tell(&format!("process {old} killed {after:.1?} after the upgrade began"));
        cluster.eventually("the new process answers, or is gone", |cluster| {
            let answers = cluster.status_of(holder).is_some_and(|status| status["pid"] != old);
            answers || controllers(cluster, holder).is_empty()
        });
        if controllers(&cluster, holder).is_empty() {
            let heir = |cluster: &Cluster| {
                let holders = cluster.holders();
                holders.len() == 1 && holders != [holder]
            };
            cluster.eventually("another node holds", heir);
            // A dead process's address is gone after two seconds, on a machine that has the time.
            assert!(cluster.doubly_held_since(begin) <= seconds(6));
            let controller = &mut cluster.world.node_mut(holder).controller;
            assert!(controller.wait(LONG));
            controller.start().unwrap();
        } else {
            taken_over += 1;
            cluster.pass(seconds(1));
            assert_eq!(cluster.holder(), holder);
            assert_eq!(cluster.moves_since(begin), 0);
            assert_eq!(cluster.tables(holder), "table inet cplb\n");
        }
    }
    println!("the new process had taken over {taken_over} times");
}

#[test]
fn a_process_killed_while_the_new_one_starts_takes_that_along() {
    let (mut cluster, _strays, program) = start_installed();
    cluster.world.start_all().unwrap();
    let holder = cluster.settle();
    let old = pid(&cluster, holder);
    install(&program.with_file_name("real"), the_real_one);
    install(&program, script(r#"sleep 1; exec "${0%/*}/real" "$@""#));
    cluster.world.node_mut(holder).controller.send(Signal::USR2).unwrap();
    cluster
        .eventually("the new process is started", |cluster| controllers(cluster, holder).len() > 1);
    kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
    cluster.eventually("nothing is left of it", |cluster| controllers(cluster, holder).is_empty());
    let log = cluster.log_of(holder);
    assert!(log.contains("the previous process ended before it had passed"), "{log}");
    cluster.eventually("another node holds", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1 && holders != [holder]
    });
    assert_eq!(cluster.tables(holder), "");
}
