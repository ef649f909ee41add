//! A changed configuration is read without a restart; a wrong one changes nothing.

use std::fs;

use keepalived::{Applied, Error, VRRP_TEMPLATE};
use vrrp::State;

use crate::node::{Node, settings};
use crate::segment::Segment;
use crate::{SECOND, TAKE_OVER, wait_for};

#[test]
fn an_address_more_comes_without_a_transition() {
    let segment = Segment::new(1);
    let mut node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let (process, configuration) =
        (node.pid("keepalived.pid"), node.settings.run_dir.join("keepalived.conf"));
    node.told();

    assert_eq!(node.apply(&segment, 1).unwrap(), Applied::default());
    node.settings.instances[0].addresses.push("10.5.0.101/24".parse().unwrap());
    let applied = node.apply(&segment, 1).unwrap();
    assert_eq!(applied, Applied { updated: vec!["cplb-vip-0".into()], ..Applied::default() });
    wait_for("the second address", 3 * SECOND, || segment.holds(1, "10.5.0.101/24"));
    assert!(segment.holds(1, "10.5.0.100/24"));
    assert_eq!(node.pid("keepalived.pid"), process);
    assert!(fs::read_to_string(configuration).unwrap().contains("10.5.0.101/24"));
    assert_eq!(node.told(), [""; 0]);
}

/// Its own real-time settings let the kernel kill it after a reload where CAP_SYS_RESOURCE is missing.
#[test]
fn the_speaker_runs_in_real_time_and_no_reload_limits_it() {
    let segment = Segment::new(1);
    let mut node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let speaker = node.pid("keepalived-vrrp.pid");
    let scheduling = || {
        let stat = fs::read_to_string(format!("/proc/{speaker}/stat")).unwrap();
        let fields: Vec<String> =
            stat.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect();
        // rt_priority and policy (proc_pid_stat(5)); 2 is SCHED_RR.
        (fields[40 - 3].clone(), fields[41 - 3].clone())
    };
    wait_for("real time", SECOND, || scheduling() == ("40".into(), "2".into()));

    node.settings.instances[0].addresses.push("10.5.0.101/24".parse().unwrap());
    node.apply(&segment, 1).unwrap();
    wait_for("the second address", 3 * SECOND, || segment.holds(1, "10.5.0.101/24"));
    assert_eq!(scheduling(), ("40".into(), "2".into()));
    let limits = fs::read_to_string(format!("/proc/{speaker}/limits")).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max realtime timeout")).unwrap();
    let words: Vec<&str> = limit.split_whitespace().collect();
    assert_eq!(words[3..5], ["unlimited", "unlimited"]);
}

#[test]
fn an_instance_more_starts_and_one_less_ends() {
    let segment = Segment::new(1);
    let mut node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let mut more = node.settings.instances[0].clone();
    more.name = "cplb-vip-1".into();
    more.virtual_router_id = 52;
    more.addresses = vec!["10.5.0.200/24".parse().unwrap()];
    node.settings.instances.push(more);
    assert_eq!(node.apply(&segment, 1).unwrap().added, ["cplb-vip-1"]);
    assert_eq!(node.states(), [State::Active, State::Initialize]);
    node.wait_for(State::Active, TAKE_OVER);
    // keepalived tells its state before the address is on the interface.
    wait_for("the second address", SECOND, || segment.holds(1, "10.5.0.200/24"));

    node.settings.instances.remove(0);
    assert_eq!(node.apply(&segment, 1).unwrap().removed, ["cplb-vip-0"]);
    wait_for("the address to go", 3 * SECOND, || !segment.holds(1, "10.5.0.100/24"));
    assert!(segment.holds(1, "10.5.0.200/24"));
    assert_eq!(node.states(), [State::Active]);
}

#[test]
fn a_wrong_template_keeps_the_old_configuration_at_work() {
    let segment = Segment::new(1);
    let mut node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    let configuration = node.settings.run_dir.join("keepalived.conf");
    let (process, before) =
        (node.pid("keepalived.pid"), fs::read_to_string(&configuration).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("mine.conf");
    node.settings.vrrp_template = Some(template.clone());

    fs::write(&template, "{{ range .VRRPInstances }}").unwrap();
    assert!(matches!(node.apply(&segment, 1), Err(Error::Template { .. })));
    fs::write(&template, VRRP_TEMPLATE.replace("state BACKUP", "state BACKUP\nnonsense")).unwrap();
    assert!(matches!(node.apply(&segment, 1), Err(Error::Refused { .. })));

    assert_eq!(fs::read_to_string(&configuration).unwrap(), before);
    assert_eq!(node.pid("keepalived.pid"), process);
    assert!(segment.holds(1, "10.5.0.100/24"));

    fs::write(&template, format!("# mine\n{VRRP_TEMPLATE}")).unwrap();
    node.apply(&segment, 1).unwrap();
    assert!(fs::read_to_string(&configuration).unwrap().contains("\n# mine\n"));
    std::thread::sleep(SECOND);
    assert!(segment.holds(1, "10.5.0.100/24"));
    node.assert_all(State::Active);
}
