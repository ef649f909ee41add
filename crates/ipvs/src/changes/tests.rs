use std::time::Duration;

use kernel::ipvs::Forwarding;

use super::*;

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn virtual_server(scheduler: Scheduler) -> VirtualServer {
    VirtualServer {
        address: at("10.0.0.100:6443"),
        scheduler,
        forwarding: Forwarding::DirectRouting,
        persistence: Some(Duration::from_secs(360)),
    }
}

fn weights(servers: &[(u8, u32)]) -> BTreeMap<SocketAddr, u32> {
    servers.iter().map(|(last, weight)| (at(&format!("10.0.0.{last}:6443")), *weight)).collect()
}

fn wanted(scheduler: Scheduler, servers: &[(u8, u32)]) -> Balanced {
    let server = virtual_server(scheduler);
    Balanced::wanted(&server, &weights(servers), Tenure::Holding, &BTreeSet::new())
}

fn ours() -> BTreeSet<SocketAddr> {
    BTreeSet::from([at("10.0.0.100:6443"), at("[fd00::100]:6443")])
}

fn to_bring_about(wanted: &Balanced, found: &[Balanced]) -> Vec<String> {
    changes(&ours(), std::slice::from_ref(wanted), found).iter().map(text).collect()
}

/// As ipvsadm(8) would be told: "add 10.0.0.11 1".
fn text(change: &Change) -> String {
    match change {
        Change::AddService(service) => format!("add service {}", service.scheduler),
        Change::SetService(service) => format!("set service {}", service.scheduler),
        Change::RemoveService(service) => format!("remove service {service}"),
        Change::AddDestination(_, it) => format!("add {} {}", it.address.ip(), it.weight),
        Change::SetDestination(_, it) => format!("set {} {}", it.address.ip(), it.weight),
        Change::RemoveDestination(_, address) => format!("remove {}", address.ip()),
    }
}

#[test]
fn a_service_comes_with_its_real_servers_in_ascending_order() {
    let wanted = wanted(Scheduler::RoundRobin, &[(12, 1), (11, 1)]);
    assert_eq!(
        to_bring_about(&wanted, &[]),
        ["add service rr", "add 10.0.0.11 1", "add 10.0.0.12 1"]
    );
    assert!(to_bring_about(&wanted, std::slice::from_ref(&wanted)).is_empty());
}

#[test]
fn services_of_others_are_not_touched_and_ours_that_are_not_wanted_go() {
    let mut of_kube_proxy = wanted(Scheduler::RoundRobin, &[(11, 1)]);
    of_kube_proxy.service.address = at("10.96.0.1:443");
    let mut other_port = of_kube_proxy.clone();
    other_port.service.address = at("10.0.0.100:9443");
    let ours_still = wanted(Scheduler::RoundRobin, &[(11, 1)]);
    let found = [of_kube_proxy, other_port, ours_still];
    let changes: Vec<String> = changes(&ours(), &[], &found).iter().map(text).collect();
    assert_eq!(changes, ["remove service 10.0.0.100:6443"]);
}

#[test]
fn what_somebody_changed_is_mended() {
    let wanted = wanted(Scheduler::WeightedRoundRobin, &[(11, 1), (12, 1), (13, 1)]);
    let mut found = wanted.clone();
    found.service.scheduler = "rr".into();
    found.destinations[0].weight = 0;
    found.destinations[1].forwarding = Forwarding::Masquerading;
    found.destinations[2].address = at("10.0.0.66:6443");
    assert_eq!(
        to_bring_about(&wanted, &[found]),
        [
            "set service wrr",
            "remove 10.0.0.66",
            "set 10.0.0.11 1",
            "set 10.0.0.12 1",
            "add 10.0.0.13 1"
        ]
    );
}

#[test]
fn persistence_that_somebody_changed_is_mended() {
    let wanted = wanted(Scheduler::RoundRobin, &[]);
    for persistence in
        [None, Some(Persistence { timeout: Duration::from_secs(360), prefix_length: 24 })]
    {
        let mut found = wanted.clone();
        found.service.persistence = persistence;
        assert_eq!(to_bring_about(&wanted, &[found]), ["set service rr"]);
    }
}

/// A hash table is filled in the order of the real servers: the heir, who adds all of them in
/// ascending order, must fill his alike.
#[test]
fn a_hashing_scheduler_has_its_real_servers_in_order() {
    for scheduler in [Scheduler::SourceHashing, Scheduler::MaglevHashing] {
        let wanted = wanted(scheduler, &[(11, 1), (12, 1), (13, 1)]);
        let mut found = wanted.clone();
        found.destinations.remove(1);
        assert_eq!(
            to_bring_about(&wanted, std::slice::from_ref(&found)),
            ["remove 10.0.0.13", "add 10.0.0.12 1", "add 10.0.0.13 1"]
        );
        found = wanted.clone();
        found.destinations.swap(1, 2);
        assert_eq!(
            to_bring_about(&wanted, &[found]),
            ["remove 10.0.0.13", "remove 10.0.0.12", "add 10.0.0.12 1", "add 10.0.0.13 1"]
        );
    }
    // No other scheduler loses its connections' servers for the order.
    let wanted = wanted(Scheduler::RoundRobin, &[(11, 1), (12, 1), (13, 1)]);
    let mut found = wanted.clone();
    found.destinations.remove(1);
    assert_eq!(to_bring_about(&wanted, &[found]), ["add 10.0.0.12 1"]);
}

/// Destination hashing refuses connections for a server of weight 0, so it must not have one.
#[test]
fn only_destination_hashing_loses_a_failed_server_at_once() {
    for scheduler in Scheduler::ALL {
        let destinations = wanted(scheduler, &[(11, 1), (12, 0)]).destinations;
        let expected = if scheduler == Scheduler::DestinationHashing { 1 } else { 2 };
        assert_eq!(destinations.len(), expected, "{scheduler:?}");
    }
}

/// ip_vs.h: IP_VS_SVC_F_SCHED_SH_FALLBACK and IP_VS_SVC_F_SCHED_MH_FALLBACK are both 8.
#[test]
fn hashing_schedulers_take_another_server_for_one_of_weight_0() {
    for scheduler in Scheduler::ALL {
        let flags = wanted(scheduler, &[]).service.flags;
        let fallback = matches!(scheduler.name(), "sh" | "mh");
        assert_eq!(flags, if fallback { 8 } else { 0 }, "{scheduler:?}");
    }
}

/// While an address leaves, a new connection must not be sent to the heir, who would send it back.
#[test]
fn a_node_that_leaves_keeps_new_connections_to_itself() {
    let server = virtual_server(Scheduler::SourceHashing);
    let all = weights(&[(11, 1), (12, 1), (13, 0)]);
    let local = BTreeSet::from(["10.0.0.12".parse().unwrap()]);
    let leaving = Balanced::wanted(&server, &all, Tenure::Leaving, &local);
    let weights_of = |it: &Balanced| it.destinations.iter().map(|it| it.weight).collect::<Vec<_>>();
    assert_eq!(weights_of(&leaving), [0, 1, 0]);
    // Where none of the real servers is here, there is no circle to fear.
    let leaving = Balanced::wanted(&server, &all, Tenure::Leaving, &BTreeSet::new());
    assert_eq!(weights_of(&leaving), [1, 1, 0]);
}
