//! Fields of one VRRP instance.

use std::time::Duration;

use config::{Checksum, Cidr, Interface, VrrpInstance, VrrpVersion};

use crate::{accept, check, instance};

/// An otherwise valid instance with a further field in line 8, column 11.
fn with(fields: &str) -> String {
    instance(&format!("authPass: BuyK0s\nvirtualIPs: [10.0.0.100/24]\n{fields}"))
}

fn accepted(text: &str) -> VrrpInstance {
    let block = accept(text).control_plane_load_balancing;
    block.expect("the block is there").vrrp_instances.remove(0)
}

#[test]
fn defaults() {
    let found = accepted(&instance("authPass: BuyK0s\nvirtualIPs: [10.0.0.100/24]"));
    let expected = VrrpInstance {
        virtual_ips: vec![Cidr { address: [10, 0, 0, 100].into(), prefix_length: 24 }],
        interface: Interface::DefaultRoute,
        virtual_router_id: 51,
        advert_interval: Duration::from_secs(1),
        auth_pass: "BuyK0s".to_owned(),
        unicast_peers: Vec::new(),
        unicast_source_ip: None,
        address_label: 10_000,
        version: VrrpVersion::V2,
        priority: 200,
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        checksum: Checksum::Auto,
    };
    assert_eq!(found, expected);
}

#[test]
fn the_secret_is_not_debugged() {
    let found = accepted(&instance("authPass: BuyK0s\nvirtualIPs: [10.0.0.100/24]"));
    assert!(format!("{found:?}").contains("auth_pass: ***"));
    assert!(!format!("{found:?}").contains("BuyK0s"));
}

#[test]
fn zero_values_of_go_stand_for_the_default() {
    let found = accepted(&with(
        "virtualRouterID: 0\nadvertIntervalSeconds: 0\naddressLabel: 0\ninterface: \"\"\nunicastPeers:",
    ));
    assert_eq!(found.virtual_router_id, 51);
    assert_eq!(found.advert_interval, Duration::from_secs(1));
    assert_eq!(found.address_label, 10_000);
    assert_eq!(found.interface, Interface::DefaultRoute);
    assert_eq!(found.unicast_peers, [] as [std::net::IpAddr; 0]);
}

#[test]
fn virtual_ips() {
    let with = |virtual_ips: &str| instance(&format!("authPass: a\n{virtual_ips}"));
    check(&with(""), &["k0s.yaml:6:11: error: vrrpInstances[0] has no virtualIPs"]);
    check(&with("virtualIPs:"), &["k0s.yaml:7:11: error: vrrpInstances[0] has no virtualIPs"]);
    check(&with("virtualIPs: []"), &["k0s.yaml:7:23: error: vrrpInstances[0] has no virtualIPs"]);
    check(
        &with("virtualIPs: 10.0.0.1/24"),
        &["k0s.yaml:7:23: error: virtualIPs must be a list, not a string"],
    );
    check(
        &with("virtualIPs:\n- 10.0.0.100\n- fd00::1\n- kube.example/24\n- 7"),
        &[
            "k0s.yaml:8:13: error: virtualIPs[0] \"10.0.0.100\" has no prefix length",
            "k0s.yaml:9:13: error: virtualIPs[1] \"fd00::1\" has no prefix length",
            "k0s.yaml:10:13: error: virtualIPs[2] \"kube.example/24\" is no address with a prefix length",
            "k0s.yaml:11:13: error: virtualIPs[3] must be a string, not a number",
        ],
    );
    check(
        &with("virtualIPs:\n- 10.0.0.100/33\n- fd00::1/129\n- 10.0.0.100/+24\n- 010.0.0.1/24"),
        &[
            "k0s.yaml:8:13: error: virtualIPs[0] \"10.0.0.100/33\" is no address with a prefix length",
            "k0s.yaml:9:13: error: virtualIPs[1] \"fd00::1/129\" is no address with a prefix length",
            "k0s.yaml:10:13: error: virtualIPs[2] \"10.0.0.100/+24\" is no address with a prefix length",
            "k0s.yaml:11:13: error: virtualIPs[3] \"010.0.0.1/24\" is no address with a prefix length",
        ],
    );
}

#[test]
fn addresses_that_no_host_can_have() {
    check(
        &instance(
            "authPass: a\nvirtualIPs:\n- 10.0.0.100/0\n- 10.0.0.0/24\n- 10.0.0.255/24\n- 127.0.0.1/8\n\
             - 224.0.0.18/24\n- 0.0.0.0/8\n- 255.255.255.255/32",
        ),
        &[
            "k0s.yaml:8:13: error: virtualIPs[0] 10.0.0.100/0 has prefix length 0: the whole Internet would be on its link",
            "k0s.yaml:9:13: error: virtualIPs[1] 10.0.0.0/24 is the address of its network",
            "k0s.yaml:10:13: error: virtualIPs[2] 10.0.0.255/24 is the broadcast address of its network",
            "k0s.yaml:11:13: error: virtualIPs[3] 127.0.0.1/8 is a loopback address: other hosts cannot reach it",
            "k0s.yaml:12:13: error: virtualIPs[4] 224.0.0.18/24 is a multicast address",
            "k0s.yaml:13:13: error: virtualIPs[5] 0.0.0.0/8 is the unspecified address",
            "k0s.yaml:14:13: error: virtualIPs[6] 255.255.255.255/32 is the broadcast address",
        ],
    );
    check(
        &instance(
            "authPass: a\nvirtualIPs:\n- fd00::/64\n- ::1/128\n- ff02::12/64\n- ::/64\n- ::ffff:10.0.0.1/120",
        ),
        &[
            "k0s.yaml:8:13: error: virtualIPs[0] fd00::/64 is the subnet-router anycast address",
            "k0s.yaml:9:13: error: virtualIPs[1] ::1/128 is a loopback address: other hosts cannot reach it",
            "k0s.yaml:10:13: error: virtualIPs[2] ff02::12/64 is a multicast address",
            "k0s.yaml:11:13: error: virtualIPs[3] ::/64 is the unspecified address",
            "k0s.yaml:12:13: error: virtualIPs[4] ::ffff:10.0.0.1/120 is an IPv4 address in IPv6 clothing",
        ],
    );
}

/// Networks without addresses of their own: RFC 3021 and RFC 6164.
#[test]
fn addresses_at_the_edge_of_tiny_networks() {
    let found = accepted(&instance(
        "authPass: a\nvirtualIPs: [10.0.0.0/31, 10.0.0.3/32, \"fd00::/127\", \"fd00::ff/128\"]",
    ));
    assert_eq!(found.virtual_ips.len(), 4);
}

#[test]
fn interface_by_name_or_hardware_address() {
    let interface = |text: &str| accepted(&with(&format!("interface: {text}"))).interface;
    let mac = Interface::Mac([0x52, 0x54, 0x00, 0xab, 0xcd, 0xef]);
    assert_eq!(interface("eth0"), Interface::Name("eth0".to_owned()));
    assert_eq!(interface("br-0123456789ab"), Interface::Name("br-0123456789ab".to_owned()));
    assert_eq!(interface("52:54:00:ab:cd:ef"), mac);
    assert_eq!(interface("52:54:00:AB:CD:EF"), mac);
    assert_eq!(interface("52-54-00-AB-cd-ef"), mac);
    assert_eq!(interface("5254.00ab.CDEF"), mac);
    for (text, column) in [
        ("en p1", 22),
        ("eth0:1", 22),
        ("a/b", 22),
        ("br-0123456789abc", 22),
        ("52:54:00:ab:cd", 22),
    ] {
        let expected = format!(
            "k0s.yaml:8:{column}: error: interface \"{text}\" is neither an interface name nor a MAC address"
        );
        check(&with(&format!("interface: {text}")), &[&expected]);
    }
    check(
        &with("interface: 5"),
        &["k0s.yaml:8:22: error: interface must be a string, not a number"],
    );
}

#[test]
fn virtual_router_id() {
    assert_eq!(accepted(&with("virtualRouterID: 255")).virtual_router_id, 255);
    for (value, expected) in [
        ("-1", "k0s.yaml:8:28: error: virtualRouterID -1 is out of range: 1 to 255"),
        ("256", "k0s.yaml:8:28: error: virtualRouterID 256 is out of range: 1 to 255"),
        ("\"51\"", "k0s.yaml:8:28: error: virtualRouterID must be a whole number, not a string"),
        ("051", "k0s.yaml:8:28: error: virtualRouterID must be a whole number, not a string"),
        (
            "5.5",
            "k0s.yaml:8:28: error: virtualRouterID must be a whole number, not a decimal fraction",
        ),
    ] {
        check(&with(&format!("virtualRouterID: {value}")), &[expected]);
    }
}

#[test]
fn advert_interval() {
    let interval = |fields: &str| accepted(&with(fields)).advert_interval;
    assert_eq!(interval("advertIntervalSeconds: 255"), Duration::from_secs(255));
    assert_eq!(interval("advertInterval: 2s"), Duration::from_secs(2));
    assert_eq!(interval("advertInterval: 1m30s"), Duration::from_secs(90));
    assert_eq!(interval("advertInterval: 10ms\nversion: 3"), Duration::from_millis(10));
    assert_eq!(interval("advertInterval: 40.95s\nversion: 3"), Duration::from_millis(40_950));

    check(
        &with("advertIntervalSeconds: 1\nadvertInterval: 1s"),
        &["k0s.yaml:9:27: error: both advertInterval and advertIntervalSeconds are given"],
    );
    for (value, expected) in [
        ("-1", "k0s.yaml:8:34: error: advertIntervalSeconds -1 is out of range: 1 to 255"),
        ("256", "k0s.yaml:8:34: error: advertIntervalSeconds 256 is out of range: 1 to 255"),
        (
            "41\nversion: 3",
            "k0s.yaml:8:34: error: advertIntervalSeconds 41 is out of range: 1 to 40",
        ),
    ] {
        check(&with(&format!("advertIntervalSeconds: {value}")), &[expected]);
    }
    for value in ["100ms", "1500ms", "256s", "0s", "-1s"] {
        check(
            &with(&format!("advertInterval: {value}")),
            &[
                "k0s.yaml:8:27: error: advertInterval must be whole seconds from 1s to 255s with VRRP version 2",
            ],
        );
    }
    for value in ["9ms", "15ms", "41s", "0s", "-1s", "9999h"] {
        check(
            &with(&format!("advertInterval: {value}\nversion: 3")),
            &[
                "k0s.yaml:8:27: error: advertInterval must be a multiple of 10ms from 10ms to 40.95s with VRRP version 3",
            ],
        );
    }
    check(
        &with("advertInterval: 1"),
        &["k0s.yaml:8:27: error: advertInterval must be a duration, not a number"],
    );
    check(
        &with("advertInterval: 1d"),
        &["k0s.yaml:8:27: error: advertInterval \"1d\" is no duration"],
    );
}

#[test]
fn auth_pass() {
    let with = |auth_pass: &str| instance(&format!("{auth_pass}\nvirtualIPs: [10.0.0.100/24]"));
    assert_eq!(accepted(&with("authPass: \"12345678\"")).auth_pass, "12345678");
    let missing = "k0s.yaml:6:21: error: vrrpInstances[0] has no authPass";
    check(&with("authPass: \"\""), &[missing]);
    check(
        &instance("virtualIPs: [10.0.0.100/24]"),
        &["k0s.yaml:6:11: error: vrrpInstances[0] has no authPass"],
    );
    check(&with("authPass: NineBytes"), &["k0s.yaml:6:21: error: authPass has 9 bytes, 8 at most"]);
    for odd in ["pa#s", "\"pa s\"", "äöü", "'\"'", "a!b", "$x", "a{b}", "\"a\\tb\""] {
        check(
            &with(&format!("authPass: {odd}")),
            &["k0s.yaml:6:21: warning: authPass has characters that keepalived reads differently"],
        );
    }
    for (value, kind) in [("12345678", "a number"), ("yes", "a boolean"), ("[a]", "a list")] {
        let expected = format!("k0s.yaml:6:21: error: authPass must be a string, not {kind}");
        check(&with(&format!("authPass: {value}")), &[&expected]);
    }
}

#[test]
fn unicast() {
    let found = accepted(&with("unicastPeers: [10.0.0.2, 10.0.0.3]\nunicastSourceIP: 10.0.0.1"));
    assert_eq!(found.unicast_source_ip, Some([10, 0, 0, 1].into()));
    assert_eq!(found.unicast_peers, [[10, 0, 0, 2], [10, 0, 0, 3]].map(std::net::IpAddr::from));

    check(
        &with("unicastPeers: [10.0.0.2]"),
        &["k0s.yaml:8:25: error: unicastPeers without unicastSourceIP"],
    );
    check(
        &with("unicastSourceIP: 10.0.0.1"),
        &["k0s.yaml:8:28: warning: unicastSourceIP has no effect without unicastPeers"],
    );
    for (peers, source, expected) in [
        ("10.0.0.2", "node1", "9:28: error: unicastSourceIP \"node1\" is no IP address"),
        ("node1", "10.0.0.1", "8:26: error: unicastPeers[0] \"node1\" is no IP address"),
        ("10.0.0.1", "10.0.0.1", "8:26: error: 10.0.0.1 is unicastSourceIP as well"),
        ("10.0.0.2, 10.0.0.2", "10.0.0.1", "8:36: error: 10.0.0.2 is a peer already"),
        ("fd00::2", "10.0.0.1", "8:26: error: fd00::2 is of another family than unicastSourceIP"),
        (
            "fd00::2",
            "fd00::1",
            "9:28: error: unicastSourceIP fd00::1 is of another family than the virtual IP 10.0.0.100",
        ),
        (
            "0.0.0.0",
            "10.0.0.1",
            "8:26: error: unicastPeers[0] 0.0.0.0 is not the address of a host",
        ),
        (
            "10.0.0.2",
            "224.0.0.1",
            "9:28: error: unicastSourceIP 224.0.0.1 is not the address of a host",
        ),
        (
            "10.0.0.100",
            "10.0.0.1",
            "7:24: error: virtual IP 10.0.0.100 is one of unicastPeers as well",
        ),
        ("10.0.0.2", "10.0.0.100", "7:24: error: virtual IP 10.0.0.100 is unicastSourceIP as well"),
    ] {
        check(
            &with(&format!("unicastPeers: [{peers}]\nunicastSourceIP: {source}")),
            &[&format!("k0s.yaml:{expected}")],
        );
    }
}

#[test]
fn version_follows_the_families() {
    let found = accepted(&instance("authPass: a\nvirtualIPs: [\"fd00::100/64\"]"));
    assert_eq!(found.version, VrrpVersion::V3);
    let found = accepted(&instance("authPass: a\nvirtualIPs: [10.0.0.100/24, \"fd00::100/64\"]"));
    assert_eq!(found.version, VrrpVersion::V3);
    assert_eq!(accepted(&with("version: 3")).version, VrrpVersion::V3);
    check(
        &instance("authPass: a\nvirtualIPs: [\"fd00::100/64\"]\nversion: 2"),
        &["k0s.yaml:8:20: error: version 2 cannot carry the IPv6 address fd00::100"],
    );
    check(&with("version: 4"), &["k0s.yaml:8:20: error: version 4 is out of range: 2 to 3"]);
}

#[test]
fn our_own_fields() {
    let found = accepted(&with("priority: 254\npreempt: false\nchecksum: rfc9568"));
    assert_eq!((found.priority, found.preempt, found.checksum), (254, false, Checksum::Rfc9568));
    for (field, expected) in [
        ("priority: 0", "8:21: error: priority 0 is out of range: 1 to 254"),
        ("priority: 255", "8:21: error: priority 255 is out of range: 1 to 254"),
        ("preempt: \"false\"", "8:20: error: preempt must be true or false, not a string"),
        ("checksum: Auto", "8:21: error: checksum \"Auto\" is none of auto, keepalived, rfc9568"),
    ] {
        check(&with(field), &[&format!("k0s.yaml:{expected}")]);
    }
}

#[test]
fn delays() {
    let found = accepted(&with("preemptDelay: 5m\nstartupDelay: 2.5s"));
    assert_eq!(
        (found.preempt_delay, found.startup_delay),
        (Duration::from_secs(300), Duration::from_millis(2_500))
    );
    let found = accepted(&with("preempt: true\npreemptDelay: 1000s\nstartupDelay: 1000s"));
    assert_eq!(
        (found.preempt_delay, found.startup_delay),
        (Duration::from_secs(1_000), Duration::from_secs(1_000))
    );
    accepted(&with("preempt: false\npreemptDelay: 0s"));
    for (field, expected) in [
        ("preemptDelay: 1001s", "error: preemptDelay 1001s is out of range: 0ns to 1000s"),
        ("preemptDelay: -1s", "error: preemptDelay -1s is out of range: 0ns to 1000s"),
        ("preemptDelay: 300", "error: preemptDelay must be a duration, not a number"),
        ("startupDelay: 20m", "error: startupDelay 20m is out of range: 0ns to 1000s"),
        ("startupDelay: soon", "error: startupDelay \"soon\" is no duration"),
        (
            "preemptDelay: 5s\npreempt: false",
            "warning: preemptDelay has no effect with preempt: false",
        ),
    ] {
        check(&with(field), &[&format!("k0s.yaml:8:25: {expected}")]);
    }
    for (field, name) in
        [("preemptDelay: 5s", "preemptDelay"), ("startupDelay: 5s", "startupDelay")]
    {
        let text = with(field).replace("keepalived:", "type: Keepalived\n      keepalived:");
        let expected =
            format!("k0s.yaml:9:25: warning: {name} has no effect with type: Keepalived");
        check(&text, &[&expected]);
    }
}

#[test]
fn address_label() {
    assert_eq!(accepted(&with("addressLabel: 4294967294")).address_label, 4_294_967_294);
    for (field, expected) in [
        ("addressLabel: 4294967295", "addressLabel 4294967295 is reserved by the kernel"),
        ("addressLabel: 4294967296", "addressLabel 4294967296 is out of range: 0 to 4294967295"),
        ("addressLabel: -1", "addressLabel -1 is out of range: 0 to 4294967295"),
    ] {
        check(&with(field), &[&format!("k0s.yaml:8:25: error: {expected}")]);
    }
}

#[test]
fn unknown_fields() {
    for (field, expected) in [
        ("virtualRouterId: 5", "unknown field \"virtualRouterId\" in vrrpInstances[0]"),
        ("track_script: x", "unknown field \"track_script\" in vrrpInstances[0]"),
        ("1: x", "a field of vrrpInstances[0] must be a string, not a number"),
    ] {
        check(&with(field), &[&format!("k0s.yaml:8:11: error: {expected}")]);
    }
    let hint = |text: &str| config::load("k0s.yaml", text).findings.remove(0).hint;
    assert_eq!(hint(&with("virtualRouterId: 5")).as_deref(), Some("did you mean virtualRouterID?"));
    assert_eq!(hint(&with("virtaulIPs: 5")).as_deref(), Some("did you mean virtualIPs?"));
}
