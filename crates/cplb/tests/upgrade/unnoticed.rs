//! What a process that goes on in place of another one takes over: everything.

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{
    DOCUMENT, VIP_V6, controllers, milliseconds, pid, seconds, start, transitions, upgraded,
};
use crate::common::{self, VIP};
use crate::witnesses::{Capture, DOWN_INTERVAL, Talker};

#[test]
fn the_virtual_ip_its_connections_and_its_advertisements_outlive_the_process() {
    let (mut cluster, _strays) = start(DOCUMENT);
    let holder = cluster.holder();
    let others: Vec<usize> = (0..3).filter(|it| *it != holder).collect();
    cluster.ask_every(milliseconds(5));
    let talkers = [VIP, VIP_V6].map(|address| Talker::start(&cluster.world, address));
    let witness = cluster.world.client();
    let capture = Capture::start(witness, cluster.world.directory().join("adverts.pcap"));
    let before: Vec<_> = others.iter().map(|it| cluster.status_of(*it).unwrap()).collect();
    let begin = cluster.now();
    cluster.pass(milliseconds(500));

    // Twice, as the new process is to be as good as the first; a Backup beside the holder.
    for node in [holder, others[0], holder] {
        let old = pid(&cluster, node);
        upgraded(&cluster, node);
        let status = cluster.status_of(node).unwrap();
        assert_eq!(status["ready"], true);
        let state = if node == holder { "Active" } else { "Backup" };
        assert_eq!(status["virtual_routers"][0]["state"], state);
        assert_eq!(status["virtual_routers"][1]["state"], state);
        let host = cluster.world.node(node).host();
        let rules = common::on(host, "nft list ruleset");
        assert!(rules.contains("tcp dport 9443 counter") && rules.contains(":6444"), "{rules}");
        assert!(common::on(host, "ss -ltnH").contains("*:9444"));
        if node == holder {
            assert!(controllers(&cluster, node).contains(&old), "it serves its connections");
        }
        cluster.pass(seconds(1));
    }

    talkers.iter().for_each(Talker::assert_talks);
    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert!(figures.answered > 500, "{figures:?}");
    assert_eq!(cluster.watch_changes_since(begin), []);
    let changes = cluster.holdings().changes().to_vec();
    assert!(changes.iter().all(|change| change.at < begin), "{changes:?}");
    let gaps = capture.longest_gaps();
    println!("longest time between two advertisements: {gaps:.3?} s");
    assert!(gaps.iter().all(|gap| *gap < DOWN_INTERVAL), "{gaps:?}");
    let last = others[1];
    assert_eq!(transitions(&cluster.status_of(last).unwrap()), transitions(&before[1]));
    // What has moved to the new process moves on as ever, and takes the old connections along.
    let begin = cluster.now();
    let newest = Pid::from_raw(pid(&cluster, holder)).unwrap();
    kill_process(newest, Signal::TERM).unwrap();
    cluster.eventually("all processes of the node have ended", |cluster| {
        controllers(cluster, holder).is_empty()
    });
    assert_ne!(cluster.holder(), holder);
    assert_eq!(cluster.moves_since(begin), 1);
    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    assert_eq!((cluster.tables(holder), cluster.addresses(holder)), (String::new(), 0));
    cluster.eventually("the old connections are cut", |_| talkers.iter().all(Talker::has_ended));
}
