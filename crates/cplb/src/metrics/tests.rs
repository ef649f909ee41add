use super::*;
use crate::status::testing::{
    foreign, report, report_of_director, report_of_keepalived, report_of_worker,
    report_with_extra_port,
};

/// The lines that are no comments.
fn samples(report: Report) -> Vec<String> {
    let text = text(report).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// All that there is.
const SAMPLES: &str = r#"
cplb_build_info{version="1.2.3"} 1
process_start_time_seconds 1700000000.0
cplb_ready 1
cplb_leaving 0
cplb_vrrp_router_info{router="cplb-vip-0",family="ipv4",interface="eth0",virtual_router_id="51",version="3",source="10.0.0.11"} 1
cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="initialize"} 0
cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="backup"} 0
cplb_vrrp_state{router="cplb-vip-0",family="ipv4",state="active"} 1
cplb_vrrp_last_transition_timestamp_seconds{router="cplb-vip-0",family="ipv4"} 1700000029.5
cplb_vrrp_transitions_total{router="cplb-vip-0",family="ipv4"} 3
cplb_vrrp_became_active_total{router="cplb-vip-0",family="ipv4"} 2
cplb_vrrp_priority{router="cplb-vip-0",family="ipv4"} 100
cplb_vrrp_configured_priority{router="cplb-vip-0",family="ipv4"} 200
cplb_vip_held{router="cplb-vip-0",family="ipv4",address="10.0.0.100"} 1
cplb_vrrp_realtime 1
cplb_vrrp_advertisements_sent_total{router="cplb-vip-0",family="ipv4"} 61
cplb_vrrp_advertisements_received_total{router="cplb-vip-0",family="ipv4"} 3
cplb_vrrp_packets_dropped_total{router="cplb-vip-0",family="ipv4",reason="other_router"} 90
cplb_vrrp_packets_dropped_total{router="cplb-vip-0",family="ipv4",reason="password"} 7
cplb_vrrp_packets_dropped_total{router="cplb-vip-0",family="ipv4",reason="ttl"} 1
cplb_vrrp_checksums_received_total{router="cplb-vip-0",family="ipv4",checksum="keepalived"} 3
cplb_vrrp_address_mismatches_total{router="cplb-vip-0",family="ipv4"} 0
cplb_vrrp_foreign_routers{router="cplb-vip-0",family="ipv4"} 1
cplb_backend_healthy{backend="10.0.0.11:6443"} 1
cplb_backend_healthy{backend="10.0.0.12:6443"} 0
cplb_backend_usable{backend="10.0.0.11:6443"} 1
cplb_backend_usable{backend="10.0.0.12:6443"} 0
cplb_backend_check_latency_seconds{backend="10.0.0.11:6443"} 0.00125
cplb_connections_accepted_total{listener="[::]:6444"} 82
cplb_connections_open 3
cplb_connections_limit 65536
cplb_connections_rejected_total{listener="[::]:6444",reason="descriptors"} 2
cplb_connections_rejected_total{reason="descriptors"} 3
cplb_connections_rejected_total{listener="[::]:6444",reason="limit"} 0
cplb_connections_rejected_total{listener="[::]:6444",reason="no_backend"} 1
cplb_connections_unserved_total 0
cplb_connections_gone_total 7
cplb_connections_reset_total 2
cplb_connections_rebalanced_total 6
cplb_accept_errors_total 0
cplb_backend_races_total 1
cplb_backend_hedges_total 0
cplb_backend_replays_total 0
cplb_backend_connections_open{backend="10.0.0.11:6443"} 3
cplb_backend_connections_open{backend="10.0.0.12:6443"} 0
cplb_backend_connects_total{backend="10.0.0.11:6443"} 41
cplb_backend_connects_total{backend="10.0.0.12:6443"} 40
cplb_backend_retries_total{backend="10.0.0.11:6443"} 4
cplb_backend_retries_total{backend="10.0.0.12:6443"} 0
cplb_backend_failures_total{backend="10.0.0.11:6443",reason="refused"} 0
cplb_backend_failures_total{backend="10.0.0.11:6443",reason="reset"} 0
cplb_backend_failures_total{backend="10.0.0.11:6443",reason="silent"} 0
cplb_backend_failures_total{backend="10.0.0.11:6443",reason="timeout"} 0
cplb_backend_failures_total{backend="10.0.0.11:6443",reason="unreachable"} 0
cplb_backend_failures_total{backend="10.0.0.12:6443",reason="refused"} 3
cplb_backend_failures_total{backend="10.0.0.12:6443",reason="reset"} 0
cplb_backend_failures_total{backend="10.0.0.12:6443",reason="silent"} 0
cplb_backend_failures_total{backend="10.0.0.12:6443",reason="timeout"} 1
cplb_backend_failures_total{backend="10.0.0.12:6443",reason="unreachable"} 0
cplb_backend_connect_latency_seconds_sum{backend="10.0.0.11:6443"} 1.1505
cplb_backend_connect_latency_seconds_count{backend="10.0.0.11:6443"} 41
cplb_backend_connect_latency_seconds_bucket{le="0.0001",backend="10.0.0.11:6443"} 0
cplb_backend_connect_latency_seconds_bucket{le="0.00025",backend="10.0.0.11:6443"} 30
cplb_backend_connect_latency_seconds_bucket{le="0.0005",backend="10.0.0.11:6443"} 38
cplb_backend_connect_latency_seconds_bucket{le="1.0",backend="10.0.0.11:6443"} 40
cplb_backend_connect_latency_seconds_bucket{le="+Inf",backend="10.0.0.11:6443"} 41
cplb_backend_sent_bytes_total{backend="10.0.0.11:6443"} 1000
cplb_backend_sent_bytes_total{backend="10.0.0.12:6443"} 0
cplb_backend_received_bytes_total{backend="10.0.0.11:6443"} 2000
cplb_backend_received_bytes_total{backend="10.0.0.12:6443"} 0
cplb_discovery_fail_open 0
cplb_discovery_last_read_timestamp_seconds 1700000080.0
"#;

#[test]
fn everything_that_the_status_knows_and_can_be_counted() {
    let mut report = report();
    report.virtual_routers[0].foreign.push(foreign());
    assert_eq!(samples(report), SAMPLES.trim().lines().collect::<Vec<_>>());
}

/// OpenMetrics 1.0: the family's name carries the unit, the sample's `_total` and `_info` as well.
#[test]
fn families_are_described() {
    let text = text(report()).unwrap();
    for lines in [
        "# HELP cplb_backend_sent_bytes Bytes sent to the apiserver\n\
         # TYPE cplb_backend_sent_bytes counter\n\
         # UNIT cplb_backend_sent_bytes bytes\n\
         cplb_backend_sent_bytes_total{backend=\"10.0.0.11:6443\"} 1000\n",
        "# HELP cplb_build The version of cplb that runs\n\
         # TYPE cplb_build info\n\
         cplb_build_info{version=\"1.2.3\"} 1\n",
        "# HELP cplb_ready 1 while this node is ready to hold the virtual IPs\n\
         # TYPE cplb_ready gauge\n\
         cplb_ready 1\n",
    ] {
        assert!(text.contains(lines), "{lines} in {text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
    // A family stands in one piece.
    let mut families: Vec<&str> = text.lines().filter(|it| it.starts_with("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count);
}

/// Nothing is told that nobody knows: keepalived's packets, connections by another node.
#[test]
fn a_node_with_keepalived_and_ipvs() {
    let samples = samples(report_of_keepalived());
    for line in [
        r#"cplb_keepalived_info{version="2.2.7"} 1"#,
        "cplb_keepalived_running 1",
        "cplb_keepalived_restarts_total 2",
        r#"cplb_vip_held{router="cplb-vip-0",family="ipv4",address="10.0.0.100"} 0"#,
        r#"cplb_backend_healthy{backend="10.0.0.11:6443"} 1"#,
        r#"cplb_virtual_server_info{address="10.0.0.100:6443",scheduler="rr",forwarding="DR",persistence_seconds="360"} 1"#,
        r#"cplb_virtual_server_here{address="10.0.0.100:6443"} 0"#,
        r#"cplb_real_server_left_out{address="10.0.0.100:6443",backend="10.0.0.12:6443",reason="unhealthy"} 1"#,
    ] {
        assert!(samples.iter().any(|sample| sample == line), "{line} in {samples:#?}");
    }
    for unknown in [
        "cplb_connections",
        "cplb_backend_connect",
        "cplb_real_server_weight",
        "cplb_real_server_connections",
        "advertisements",
        "realtime",
    ] {
        assert!(!samples.iter().any(|it| it.contains(unknown)), "{unknown} in {samples:#?}");
    }
}

/// What the holder has beside the others.
const DIRECTOR: &str = r#"
cplb_virtual_server_here{address="10.0.0.100:6443"} 1
cplb_real_server_weight{address="10.0.0.100:6443",backend="10.0.0.11:6443"} 1
cplb_real_server_weight{address="10.0.0.100:6443",backend="10.0.0.12:6443"} 0
cplb_real_server_connections_active{address="10.0.0.100:6443",backend="10.0.0.11:6443"} 34
cplb_real_server_connections_active{address="10.0.0.100:6443",backend="10.0.0.12:6443"} 2
cplb_real_server_connections_inactive{address="10.0.0.100:6443",backend="10.0.0.11:6443"} 5
cplb_real_server_connections_inactive{address="10.0.0.100:6443",backend="10.0.0.12:6443"} 0
cplb_real_server_left_out{address="10.0.0.100:6443",backend="10.0.0.12:6443",reason="unhealthy"} 1
cplb_real_server_left_out{address="10.0.0.100:6443",backend="10.0.0.13:6443",reason="absent"} 1
"#;

#[test]
fn the_holder_with_ipvs_tells_of_the_kernels_connections() {
    let text = samples(report_of_director()).join("\n");
    assert!(text.contains(DIRECTOR), "{text}");
}

#[test]
fn a_router_that_moves_with_another_one_names_it() {
    let mut report = report();
    report.virtual_routers[0].source = "fe80::b".parse().unwrap();
    report.virtual_routers[0].follows = Some("10.0.0.11".parse().unwrap());
    let info = r#"cplb_vrrp_router_info{router="cplb-vip-0",family="ipv6",interface="eth0",virtual_router_id="51",version="3",source="fe80::b",follows="10.0.0.11"} 1"#;
    assert!(samples(report).contains(&info.to_owned()));
}

#[test]
fn a_foreign_router_that_has_gone_is_not_counted() {
    let mut report = report();
    report.virtual_routers[0].foreign.push(foreign());
    report.virtual_routers[0].foreign[0].heard_ms = 600_000;
    let none = "cplb_vrrp_foreign_routers{router=\"cplb-vip-0\",family=\"ipv4\"} 0".to_owned();
    assert!(samples(report).contains(&none));
}

#[test]
fn without_a_load_balancer_its_families_are_left_out() {
    let mut report = report();
    report.load_balancer = None;
    let text = text(report).unwrap();
    assert!(!text.contains("cplb_connections") && !text.contains("cplb_backend"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

/// What a worker has beside [`SAMPLES`], from its node on to the apiservers.
const WORKER: &str = r#"
cplb_ready 1
cplb_leaving 0
cplb_worker_info{balancer="Builtin"} 1
cplb_worker_connections_draining 4
cplb_konnectivity_backend_healthy{backend="10.0.0.11:8132"} 1
cplb_konnectivity_backend_healthy{backend="10.0.0.12:8132"} 0
cplb_konnectivity_backend_usable{backend="10.0.0.11:8132"} 1
cplb_konnectivity_backend_usable{backend="10.0.0.12:8132"} 0
cplb_konnectivity_backend_connections_open{backend="10.0.0.11:8132"} 3
cplb_konnectivity_backend_connections_open{backend="10.0.0.12:8132"} 0
cplb_konnectivity_backend_connects_total{backend="10.0.0.11:8132"} 41
cplb_konnectivity_backend_connects_total{backend="10.0.0.12:8132"} 40
cplb_konnectivity_backend_failures_total{backend="10.0.0.11:8132",reason="refused"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.11:8132",reason="reset"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.11:8132",reason="silent"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.11:8132",reason="timeout"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.11:8132",reason="unreachable"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.12:8132",reason="refused"} 3
cplb_konnectivity_backend_failures_total{backend="10.0.0.12:8132",reason="reset"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.12:8132",reason="silent"} 0
cplb_konnectivity_backend_failures_total{backend="10.0.0.12:8132",reason="timeout"} 1
cplb_konnectivity_backend_failures_total{backend="10.0.0.12:8132",reason="unreachable"} 0
cplb_konnectivity_connections_accepted_total{listener="127.0.0.1:7132"} 82
cplb_konnectivity_connections_open 3
cplb_konnectivity_connections_unserved_total 0
cplb_backend_healthy{backend="10.0.0.11:6443"} 1
"#;

#[test]
fn a_worker_counts_konnectivity_apart_and_speaks_of_no_virtual_router() {
    let samples = samples(report_of_worker());
    let text = samples.join("\n");
    assert!(text.contains(WORKER), "{text}");
    assert!(text.contains("\ncplb_connections_open 3\n"), "{text}");
    assert!(!text.contains("vrrp") && !text.contains("vip"), "{text}");
}

/// Connections through Envoy are not seen here.
#[test]
fn a_worker_with_a_pod_tells_its_image_and_the_health_of_apiservers() {
    let mut report = report_of_worker();
    let worker = report.worker.as_mut().unwrap();
    worker.balancer = "EnvoyProxy".to_owned();
    worker.image = Some("example.org/envoy:v1".to_owned());
    worker.konnectivity = None;
    let samples = samples(report);
    for line in [
        r#"cplb_worker_info{balancer="EnvoyProxy",image="example.org/envoy:v1"} 1"#,
        r#"cplb_backend_healthy{backend="10.0.0.11:6443"} 1"#,
        "cplb_discovery_fail_open 0",
    ] {
        assert!(samples.iter().any(|sample| sample == line), "{line} in {samples:#?}");
    }
    for unknown in ["cplb_connections", "cplb_backend_connect", "konnectivity"] {
        assert!(!samples.iter().any(|it| it.contains(unknown)), "{unknown} in {samples:#?}");
    }
}

/// What there is beside [`SAMPLES`] where a port is balanced as well.
const EXTRA_PORT: &str = r#"
cplb_extra_port_backend_healthy{port="9443",backend="10.0.0.11:9443"} 1
cplb_extra_port_backend_healthy{port="9443",backend="10.0.0.12:9443"} 0
cplb_extra_port_backend_usable{port="9443",backend="10.0.0.11:9443"} 1
cplb_extra_port_backend_usable{port="9443",backend="10.0.0.12:9443"} 0
cplb_extra_port_backend_connections_open{port="9443",backend="10.0.0.11:9443"} 3
cplb_extra_port_backend_connections_open{port="9443",backend="10.0.0.12:9443"} 0
cplb_extra_port_backend_connects_total{port="9443",backend="10.0.0.11:9443"} 41
cplb_extra_port_backend_connects_total{port="9443",backend="10.0.0.12:9443"} 40
"#;

#[test]
fn an_extra_port_is_counted_apart() {
    let samples = samples(report_with_extra_port());
    let text = samples.join("\n");
    assert!(text.contains(EXTRA_PORT), "{text}");
    for line in [
        r#"cplb_extra_port_backend_failures_total{port="9443",backend="10.0.0.12:9443",reason="refused"} 3"#,
        r#"cplb_extra_port_connections_accepted_total{port="9443",listener="[::]:19443"} 82"#,
        r#"cplb_extra_port_connections_open{port="9443"} 3"#,
        r#"cplb_extra_port_connections_unserved_total{port="9443"} 0"#,
        r#"cplb_extra_port_connections_rejected_total{port="9443",listener="[::]:19443",reason="no_backend"} 1"#,
        r#"cplb_extra_port_backend_check_latency_seconds{port="9443",backend="10.0.0.11:9443"} 0.00125"#,
        r#"cplb_extra_port_backend_connect_latency_seconds_count{port="9443",backend="10.0.0.11:9443"} 41"#,
        r#"cplb_extra_port_backend_sent_bytes_total{port="9443",backend="10.0.0.11:9443"} 1000"#,
        r#"cplb_extra_port_backend_received_bytes_total{port="9443",backend="10.0.0.11:9443"} 2000"#,
        // The apiservers' own are as ever.
        "cplb_connections_open 3",
        r#"cplb_backend_healthy{backend="10.0.0.11:6443"} 1"#,
    ] {
        assert!(samples.iter().any(|sample| sample == line), "{line} in {samples:#?}");
    }
    assert!(!text.contains("cplb_backend_healthy{backend=\"10.0.0.11:9443\"}"), "{text}");
}
