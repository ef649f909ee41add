use super::*;

fn snapshot() -> Snapshot {
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000);
    let address: SocketAddr = "10.0.0.1:6443".parse().unwrap();
    Snapshot {
        backends: vec![Backend {
            address,
            health: Health::Healthy,
            reason: "200 ok".into(),
            since,
            failure: None,
            latency: Some(Duration::from_micros(4208)),
            sources: vec![Source::Endpoints, Source::Local],
        }],
        usable: vec![address],
        fail_open: false,
        origin: Origin::Endpoints { via: address, resource: Resource::Slices },
        refused: vec![Refused { address, reason: "it is a virtual IP".into() }],
        discovery: Discovery {
            kubeconfig: Some("/etc/kubernetes/admin.conf".into()),
            via: Some(address),
            error: None,
            read: Some(since),
        },
    }
}

#[test]
fn json_is_what_status_shows() {
    let expected = serde_json::json!({
        "backends": [{
            "address": "10.0.0.1:6443",
            "health": "healthy",
            "reason": "200 ok",
            "since": "2026-11-23T00:00:00Z",
            "failure": null,
            "latency_ms": 4.208,
            "sources": ["endpoints", "local"]
        }],
        "usable": ["10.0.0.1:6443"],
        "fail_open": false,
        "origin": {"endpoints": {"via": "10.0.0.1:6443", "resource": "slices"}},
        "refused": [{"address": "10.0.0.1:6443", "reason": "it is a virtual IP"}],
        "discovery": {
            "kubeconfig": "/etc/kubernetes/admin.conf",
            "via": "10.0.0.1:6443",
            "error": null,
            "read": "2026-11-23T00:00:00Z"
        }
    });
    assert_eq!(serde_json::to_value(snapshot()).unwrap(), expected);
    let cache = Origin::Cache { age: Duration::from_secs(90) };
    assert_eq!(
        serde_json::to_value(cache).unwrap(),
        serde_json::json!({"cache": {"age_ms": 90000.0}})
    );
}

#[test]
fn latency_and_time_of_reading_are_no_news() {
    let mut other = snapshot();
    other.backends[0].latency = None;
    other.discovery.read = None;
    assert!(snapshot().says_the_same(&other));
    other.backends[0].health = Health::Unhealthy;
    assert!(!snapshot().says_the_same(&other));
}
