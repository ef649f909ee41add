use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn addresses(texts: &[&str]) -> BTreeSet<SocketAddr> {
    texts.iter().map(|it| address(it)).collect()
}

/// Static 10.0.0.1, local 127.0.0.1, cached 10.0.0.2; the VIP is 10.0.0.100.
fn lists() -> Lists {
    let settings = Settings {
        static_servers: vec![address("10.0.0.1:6443")],
        local: Some(address("127.0.0.1:6443")),
        virtual_addresses: vec!["10.0.0.100".parse().unwrap()],
        proxy_port: 6444,
        ..Settings::default()
    };
    let cached = addresses(&["10.0.0.2:6443", "10.0.0.100:6443"]);
    Lists::new(settings, Some(Cached { addresses: cached, age: Duration::from_secs(90) }))
}

fn take(lists: &mut Lists, now: Instant, list: &[&str]) -> bool {
    lists.take(now, address("10.0.0.1:6443"), Resource::Slices, addresses(list))
}

fn current(lists: &Lists) -> Vec<String> {
    let text = |(address, sources): (&SocketAddr, &Vec<Source>)| format!("{address} {sources:?}");
    lists.current().iter().map(text).collect()
}

#[test]
fn before_the_cluster_is_read_all_that_is_known_counts_but_virtual_addresses() {
    let mut lists = lists();
    lists.add_server([address("10.0.0.100:6443"), address("10.0.0.1:6443")]);
    assert_eq!(
        current(&lists),
        ["10.0.0.1:6443 [Static, Kubeconfig]", "10.0.0.2:6443 [Cache]"],
        "this machine's own apiserver is one of those"
    );
    assert_eq!(lists.origin(), Origin::Cache { age: Duration::from_secs(90) });
    assert!(lists.refused().is_empty(), "a kubeconfig may well name the virtual address");
}

#[test]
fn where_nothing_else_is_known_the_apiserver_of_this_machine_counts() {
    let settings = Settings { local: Some(address("127.0.0.1:6443")), ..Settings::default() };
    assert_eq!(current(&Lists::new(settings, None)), ["127.0.0.1:6443 [Local]"]);
}

#[test]
fn the_cluster_has_the_last_word_and_the_others_remain_ways_to_it() {
    let mut lists = lists();
    assert!(take(&mut lists, Instant::now(), &["10.0.0.1:6443", "10.0.0.3:6443"]));
    assert_eq!(current(&lists), ["10.0.0.1:6443 [Endpoints, Static]", "10.0.0.3:6443 [Endpoints]"]);
    assert_eq!(
        lists.origin(),
        Origin::Endpoints { via: address("10.0.0.1:6443"), resource: Resource::Slices }
    );
    assert_eq!(
        lists.candidates(),
        addresses(&["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443", "127.0.0.1:6443"])
    );
}

#[test]
fn an_empty_list_is_never_taken() {
    let mut lists = lists();
    assert!(!take(&mut lists, Instant::now(), &[]));
    assert_eq!(lists.listed(), None);
    assert!(take(&mut lists, Instant::now(), &["10.0.0.3:6443"]));
    assert!(!take(&mut lists, Instant::now(), &[]));
    assert_eq!(current(&lists), ["10.0.0.3:6443 [Endpoints]"]);
}

#[test]
fn a_virtual_address_among_the_endpoints_is_refused_with_advice() {
    let mut lists = lists();
    assert!(take(&mut lists, Instant::now(), &["10.0.0.100:6443", "10.0.0.3:6443"]));
    assert_eq!(current(&lists), ["10.0.0.3:6443 [Endpoints]"]);
    let refused = lists.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].address, address("10.0.0.100:6443"));
    for part in
        ["virtual IP", "--disable-components=endpoint-reconciler", "--apiserver-advertise-address"]
    {
        assert!(refused[0].reason.contains(part), "{}", refused[0].reason);
    }
    assert!(!take(&mut lists, Instant::now(), &["10.0.0.100:6443"]), "nothing else in it");
    assert_eq!(current(&lists), ["10.0.0.3:6443 [Endpoints]"]);
    assert_eq!(lists.refused().len(), 1);
    assert!(take(&mut lists, Instant::now(), &["10.0.0.3:6443"]));
    assert!(lists.refused().is_empty());
}

#[test]
fn who_leaves_the_list_stays_for_thirty_seconds() {
    let mut lists = lists();
    let begin = Instant::now();
    let at = |milliseconds| begin + Duration::from_millis(milliseconds);
    take(&mut lists, begin, &["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443"]);
    take(&mut lists, at(1000), &["10.0.0.3:6443"]);
    let three = [
        "10.0.0.1:6443 [Departed, Static]",
        "10.0.0.2:6443 [Departed, Cache]",
        "10.0.0.3:6443 [Endpoints]",
    ];
    assert_eq!(current(&lists), three);
    lists.expire(at(30_999));
    assert_eq!(current(&lists), three);
    lists.expire(at(31_000));
    assert_eq!(current(&lists), ["10.0.0.3:6443 [Endpoints]"]);
}

#[test]
fn who_returns_to_the_list_in_time_never_left() {
    let mut lists = lists();
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    take(&mut lists, begin, &["10.0.0.3:6443", "10.0.0.4:6443"]);
    take(&mut lists, at(1), &["10.0.0.3:6443"]);
    take(&mut lists, at(20), &["10.0.0.3:6443", "10.0.0.4:6443"]);
    lists.expire(at(40));
    assert_eq!(current(&lists), ["10.0.0.3:6443 [Endpoints]", "10.0.0.4:6443 [Endpoints]"]);
}

#[test]
fn without_cache_or_static_servers_the_list_is_local() {
    let settings = Settings { local: Some(address("127.0.0.1:6443")), ..Settings::default() };
    assert_eq!(Lists::new(settings.clone(), None).origin(), Origin::Local);
    let static_servers = vec![address("10.0.0.1:6443")];
    let settings = Settings { static_servers, ..settings };
    assert_eq!(Lists::new(settings, None).origin(), Origin::Static);
}
