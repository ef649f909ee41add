//! What cannot go on: says why, and changes nothing.

use std::fs;

use lab::world::VrrpEngine;
use rustix::process::Signal;

use crate::cluster::{
    controllers, install, ipv4_alone, pid, script, start_installed, start_with, the_real_one,
    transitions, upgrade,
};
use crate::common::{self, Cluster, VIP, text};
use crate::witnesses::Talker;

#[test]
fn what_cannot_go_on_changes_nothing() {
    let (mut cluster, _strays, program) = start_installed();
    cluster.world.start_all().unwrap();
    let holder = cluster.settle();
    cluster.ask();
    let begin = cluster.now();
    let before = cluster.status_of(holder).unwrap();
    let rules = common::on(cluster.world.node(holder).host(), "nft --stateless list ruleset");

    let refused = |cluster: &Cluster, why: &str| {
        let output = upgrade(cluster, holder, &["--within", "2"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        assert!(text(&output.stderr).contains(why), "{why}: {output:?}");
        cluster.eventually("only the old process runs", |cluster| {
            controllers(cluster, holder).len() == 1
        });
        let status = cluster.status_of(holder).unwrap();
        assert_eq!(status["pid"], before["pid"]);
        assert_eq!(transitions(&status), transitions(&before));
    };

    install(&program, script("exit 3"));
    refused(&cluster, "the new process ended (exit status: 3)");
    install(&program, script("exec sleep 60"));
    refused(&cluster, "the new process was not ready within 2s");
    install(&program, script("exec sleep 60 <&-"));
    refused(&cluster, "the new process does not speak to this one");
    install(&program, |path| fs::write(path, "no program").unwrap());
    refused(&cluster, "process goes on: cannot start");
    install(&program, the_real_one);
    let (config, one_family) = (cluster.world.directory().join("config.yaml"), ipv4_alone());
    fs::write(&config, one_family.replace("advertInterval", "advertInterva")).unwrap();
    // Not only that something is wrong: who asks does not see the log.
    let position = format!("{}:10:11: error: ", config.display());
    refused(&cluster, &position);
    fs::write(
        &config,
        one_family.replace("version: 3", "version: 3\n          virtualRouterID: 9"),
    )
    .unwrap();
    refused(&cluster, "virtual router 51 of cplb-vip-0");
    fs::write(&config, &one_family).unwrap();
    // What the new version alone finds wrong.
    install(&program.with_file_name("real"), the_real_one);
    install(
        &program,
        script(
            r#"sed -i s/advertInterval:/advertInterva:/ "${0%/*}/config.yaml"; exec "${0%/*}/real" "$@""#,
        ),
    );
    refused(&cluster, &position);
    fs::write(&config, &one_family).unwrap();
    install(&program, the_real_one);

    let figures = cluster.figures_since(begin);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_eq!(cluster.moves_since(begin), 0);
    assert!(cluster.holdings().changes().iter().all(|change| change.at < begin));
    let host = cluster.world.node(holder).host();
    assert_eq!(common::on(host, "nft --stateless list ruleset"), rules);
    assert_eq!(cluster.watch_changes_since(begin), []);

    // After all that, a good one goes on, by a signal.
    let talker = Talker::start(&cluster.world, VIP);
    cluster.world.node_mut(holder).controller.send(Signal::USR2).unwrap();
    cluster.eventually("the new process answers", |cluster| {
        cluster.status_of(holder).is_some_and(|status| status["pid"] != before["pid"])
    });
    talker.assert_talks();
    assert_eq!(cluster.watch_changes_since(begin), []);
    let old = before["pid"].as_i64().unwrap() as i32;
    cluster.eventually("the old process has ended with the drain's deadline", |cluster| {
        !controllers(cluster, holder).contains(&old)
    });
    cluster.eventually("its connections too", |_| talker.has_ended());
    assert_eq!(cluster.figures_since(begin).failed(), 0);
    assert_eq!(cluster.moves_since(begin), 0);
}

/// Refused at once, by both ways of asking, and nothing has changed.
#[test]
fn with_keepalived_it_is_refused() {
    let (mut cluster, _strays) = start_with(&ipv4_alone(), VrrpEngine::Keepalived);
    let (holder, begin) = (cluster.holder(), cluster.now());
    let before = pid(&cluster, holder);
    let why = "type: Keepalived, whose keepalived ends with the process that started it: stop and start it, which hands the virtual IP over to another node; nothing was changed";
    let output = upgrade(&cluster, holder, &[]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains(&format!("not upgraded, the old process goes on: {why}")), "{told}");

    cluster.world.node_mut(holder).controller.send(Signal::USR2).unwrap();
    let refusal = format!("not upgraded, this process goes on: {why}");
    cluster.eventually("the signal is refused as well", |cluster| {
        cluster.log_of(holder).matches(&refusal).count() == 2
    });
    assert_eq!(controllers(&cluster, holder), [before]);
    assert_eq!(cluster.moves_since(begin), 0);
    assert_eq!(cluster.status_of(holder).unwrap()["keepalived"]["restarts"], 0);
}
