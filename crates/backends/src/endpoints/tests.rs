use super::*;

/// As kube-apiserver v1.20.2 answers.
const ENDPOINTS: &str = r#"{
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {
        "creationTimestamp": "2026-11-23T03:35:41Z",
        "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        "name": "kubernetes",
        "namespace": "default",
        "resourceVersion": "320",
        "uid": "45b619e8-68df-4e6a-ae4a-6baca379aec1"
    },
    "subsets": [{
        "addresses": [{"ip": "10.97.0.11"}, {"ip": "10.97.0.12"}, {"ip": "10.97.0.13"}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]
    }]
}"#;

/// As an apiserver since v1.21 answers.
const SLICE: &str = r#"{
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {
        "creationTimestamp": "2026-11-23T03:35:41Z",
        "generation": 17,
        "labels": {"kubernetes.io/service-name": "kubernetes"},
        "name": "kubernetes",
        "namespace": "default",
        "resourceVersion": "321",
        "uid": "9e823d21-5577-42fb-b188-31fd7487da29"
    },
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": ["10.97.0.11"], "conditions": {"ready": true}},
        {"addresses": ["10.97.0.12"], "conditions": {"ready": true}},
        {"addresses": ["10.97.0.13"], "conditions": {"ready": true}}
    ],
    "ports": [{"name": "https", "protocol": "TCP", "port": 6443}]
}"#;

const THREE: [&str; 3] = ["10.97.0.11:6443", "10.97.0.12:6443", "10.97.0.13:6443"];

fn endpoints(json: &str) -> Vec<String> {
    texts(of_endpoints(&serde_json::from_str(json).unwrap()))
}

fn slices(json: &[&str]) -> Vec<String> {
    let slices: Vec<EndpointSlice> =
        json.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    texts(of_slices(&slices))
}

fn texts(addresses: BTreeSet<SocketAddr>) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn endpoints_of_a_real_apiserver() {
    assert_eq!(endpoints(ENDPOINTS), THREE);
}

#[test]
fn slice_of_a_real_apiserver() {
    assert_eq!(slices(&[SLICE]), THREE);
}

#[test]
fn slices_of_both_families_are_joined() {
    let six = SLICE
        .replace("IPv4", "IPv6")
        .replace("10.97.0.11", "fd00::11")
        .replace("10.97.0.12", "fd00::12")
        .replace("10.97.0.13", "fd00::13");
    assert_eq!(
        slices(&[&six, SLICE]),
        [&THREE[..], &["[fd00::11]:6443", "[fd00::12]:6443", "[fd00::13]:6443"]].concat()
    );
}

#[test]
fn slice_endpoint_is_ready_unless_it_says_otherwise() {
    let one_not = SLICE.replacen("\"ready\": true", "\"ready\": false", 1);
    assert_eq!(slices(&[&one_not]), THREE[1..]);
    let silent = SLICE.replace("\"ready\": true", "");
    assert_eq!(slices(&[&silent]), THREE);
}

#[test]
fn endpoints_that_are_not_ready_are_left_out() {
    let none = ENDPOINTS.replace("\"addresses\"", "\"notReadyAddresses\"");
    assert!(endpoints(&none).is_empty());
}

#[test]
fn port_named_https_goes_before_others() {
    let two =
        r#""ports": [{"name": "konnectivity", "port": 8132}, {"name": "https", "port": 443}]"#;
    let one = r#""ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]"#;
    assert!(ENDPOINTS.contains(one));
    assert_eq!(
        endpoints(&ENDPOINTS.replace(one, two)),
        ["10.97.0.11:443", "10.97.0.12:443", "10.97.0.13:443"]
    );
}

#[test]
fn only_port_needs_no_name() {
    assert_eq!(endpoints(&ENDPOINTS.replace(r#""name": "https", "#, "")), THREE);
    assert_eq!(slices(&[&SLICE.replace(r#""name": "https", "#, "")]), THREE);
}

#[test]
fn ports_that_leave_a_doubt_or_are_none_give_nothing() {
    let named = |ports: &str| {
        let one = r#""ports": [{"name": "https", "protocol": "TCP", "port": 6443}]"#;
        assert!(SLICE.contains(one));
        slices(&[&SLICE.replace(one, ports)])
    };
    assert!(named(r#""ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]"#).is_empty());
    assert!(named(r#""ports": []"#).is_empty());
    assert!(named(r#""ports": null"#).is_empty());
    assert!(named(r#""ports": [{"name": "https", "port": 0}]"#).is_empty());
    assert!(named(r#""ports": [{"name": "https", "port": 70979}]"#).is_empty());
}

#[test]
fn empty_lists_and_names_for_addresses_give_nothing() {
    assert!(endpoints(r#"{"metadata": {"name": "kubernetes"}}"#).is_empty());
    assert!(slices(&[r#"{"metadata": {}, "addressType": "IPv4", "endpoints": null}"#]).is_empty());
    assert!(slices(&[]).is_empty());
    let names = SLICE.replace("10.97.0.1", "apiserver");
    assert!(slices(&[&names]).is_empty());
}
