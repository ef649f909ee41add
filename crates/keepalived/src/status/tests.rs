use super::*;
use crate::outline::outline;

const CONFIGURATION: &str = "vrrp_instance vi {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        10.0.0.100/24
    }
}
";

#[test]
fn every_change_counts_though_only_the_last_are_kept() {
    let outlines = outline(CONFIGURATION, 2);
    let mut instance = InstanceStatus::new(&outlines[0]);
    for number in 0..20 {
        let to = if number % 2 == 0 { State::Backup } else { State::Active };
        assert!(instance.enter(to, format!("change {number}")).is_some());
        assert!(instance.enter(to, "the same again".to_owned()).is_none());
    }
    assert_eq!((instance.transition_count, instance.became_active), (20, 10));
    assert_eq!(instance.transitions.len(), 16);
    assert_eq!(instance.transitions[0].transition.reason, "change 4");
}

#[test]
fn a_new_configuration_forgets_nothing_of_an_instance_that_stays() {
    let outlines = outline(CONFIGURATION, 2);
    let mut status = Status::default();
    status.follow(&outlines);
    status.instances[0].enter(State::Backup, "started".to_owned());
    status.instances[0].enter(State::Active, "nobody heard".to_owned());
    status.follow(&outlines);
    let instance = &status.instances[0];
    assert_eq!((instance.transition_count, instance.became_active), (2, 1));
    assert_eq!((instance.state, instance.transitions.len()), (State::Active, 2));
}
