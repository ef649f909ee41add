//! A keepalived of somebody else's.

use std::fs;
use std::path::Path;
use std::process::Child;

use lab::world::Host;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Cluster, LONG, on};
use crate::keepalived;

/// The distribution's, with its own files and another virtual router; ends with this.
struct Stranger(Child);

impl Stranger {
    fn start(host: &Host, directory: &Path) -> Self {
        let file = |name: &str| directory.join(format!("stranger.{name}"));
        let configuration = "vrrp_instance of_the_distribution {
    interface eth0
    virtual_router_id 77
    priority 100
    advert_int 1
    virtual_ipaddress {
        10.0.0.177/24
    }
}
";
        fs::write(file("conf"), configuration).unwrap();
        let command = host
            .command("keepalived")
            .args(["--dont-fork", "--no-syslog", "--vrrp", "--use-file"])
            .arg(file("conf"))
            .arg("--pid")
            .arg(file("pid"))
            .arg("--vrrp_pid")
            .arg(file("vrrp.pid"));
        Self(command.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // In good order, so that its child ends too.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn another_keepalived_on_the_host_is_left_alone() {
    let mut cluster = Cluster::build(keepalived());
    let directory = cluster.world.directory().to_owned();
    let mut stranger = Stranger::start(cluster.world.node(0).host(), &directory);
    let its_address = |cluster: &Cluster| {
        on(cluster.world.node(0).host(), "ip -o address").contains(" 10.0.0.177/24 ")
    };
    cluster.eventually("the other one holds its address", its_address);
    cluster.world.start_all().unwrap();
    cluster.settle();
    assert!(its_address(&cluster));
    cluster.world.node_mut(0).controller.kill().unwrap();
    assert!(cluster.world.node_mut(0).controller.wait(LONG));
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.settle();
    cluster.world.node_mut(0).controller.stop().unwrap();
    assert!(cluster.world.node_mut(0).controller.wait(LONG));
    assert!(its_address(&cluster));
    assert!(stranger.0.try_wait().unwrap().is_none(), "it runs");
}
