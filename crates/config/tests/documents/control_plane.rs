//! Fields of the control plane block around the VRRP instances.

use std::time::Duration;

use config::{
    Balance, ControlPlaneKind, ControlPlaneLoadBalancing, HealthCheck, LbAlgo, LbKind,
    LoadBalancer, Redirect, VirtualServer,
};

use crate::{accept, check, check_each, control_plane};

const INSTANCE: &str = "vrrpInstances: [{authPass: a, virtualIPs: [10.0.0.100/24]}]";

/// A document whose `keepalived` block has a valid instance and in line 6, column 9 this field.
fn keepalived(field: &str) -> String {
    control_plane(&format!("keepalived:\n  {INSTANCE}\n  {field}"))
}

fn control_plane_of(text: &str) -> ControlPlaneLoadBalancing {
    accept(text).control_plane_load_balancing.expect("the block is there")
}

#[test]
fn control_plane_defaults() {
    let expected = ControlPlaneLoadBalancing {
        enabled: false,
        kind: ControlPlaneKind::Builtin,
        vrrp_instances: Vec::new(),
        virtual_servers: Vec::new(),
        user_space_proxy_bind_port: 6444,
        disable_load_balancer: false,
        config_template_vrrp: None,
        config_template_vs: None,
        load_balancer: LoadBalancer {
            health_check: HealthCheck {
                interval: Duration::from_secs(1),
                timeout: Duration::from_millis(900),
                fall: 2,
                rise: 2,
            },
            balance: Balance::RoundRobin,
            max_connections: None,
            max_connections_per_source: None,
            allowed_sources: Vec::new(),
            drain_timeout: Duration::from_secs(30),
            redirect: Redirect::Auto,
            rebalance: None,
            extra_ports: Vec::new(),
        },
    };
    assert_eq!(control_plane_of(&control_plane("enabled: false")), expected);
    assert_eq!(control_plane_of(&control_plane("type: \"\"\nkeepalived: {}")), expected);
}

#[test]
fn control_plane_fields() {
    check_each(
        control_plane,
        &[
            ("type: keepalived", "4:13: error: type \"keepalived\" is none of Keepalived, Builtin"),
            ("type: HAProxy", "4:13: error: type \"HAProxy\" is none of Keepalived, Builtin"),
            ("enabled: \"true\"", "4:16: error: enabled must be true or false, not a string"),
            ("keepalived: []", "4:19: error: keepalived must be a mapping, not a list"),
            (
                "keepalive: {}",
                "4:7: error: unknown field \"keepalive\" in controlPlaneLoadBalancing",
            ),
            (
                "loadbalancer: {}",
                "4:7: error: unknown field \"loadbalancer\" in controlPlaneLoadBalancing",
            ),
            ("enabled: true", "4:16: error: enabled without a keepalived block"),
            ("enabled: true\nkeepalived:", "4:16: error: enabled without a keepalived block"),
            (
                "enabled: true\nkeepalived: {}",
                "5:19: error: enabled without vrrpInstances: there is no virtual IP",
            ),
            (
                "enabled: true\nkeepalived: {vrrpInstances: []}",
                "5:35: error: enabled without vrrpInstances: there is no virtual IP",
            ),
        ],
    );
    check(
        "spec: {network: {controlPlaneLoadBalancing: true}}",
        &["k0s.yaml:1:45: error: controlPlaneLoadBalancing must be a mapping, not a boolean"],
    );
}

/// k0s validates the block if it is there, enabled or not.
#[test]
fn a_disabled_block_is_checked_as_well() {
    check(
        &control_plane("enabled: false\nkeepalived:\n  vrrpInstances: [{virtualIPs: [10.0.0.1]}]"),
        &[
            "k0s.yaml:6:25: error: vrrpInstances[0] has no authPass",
            "k0s.yaml:6:39: error: virtualIPs[0] \"10.0.0.1\" has no prefix length",
        ],
    );
}

#[test]
fn keepalived_fields() {
    let found = control_plane_of(&keepalived("userSpaceProxyBindPort: 65535"));
    assert_eq!(found.user_space_proxy_bind_port, 65_535);
    let found = control_plane_of(&keepalived("userSpaceProxyBindPort: 0"));
    assert_eq!(found.user_space_proxy_bind_port, 6444);
    assert!(control_plane_of(&keepalived("disableLoadBalancer: true")).disable_load_balancer);
    let found = control_plane_of(
        "spec: {network: {controlPlaneLoadBalancing: {type: Keepalived, keepalived: \
         {configTemplateVRRP: /etc/vrrp.tmpl, configTemplateVS: /etc/vs.tmpl}}}}",
    );
    assert_eq!(found.config_template_vrrp, Some("/etc/vrrp.tmpl".into()));
    assert_eq!(found.config_template_vs, Some("/etc/vs.tmpl".into()));
    check_each(
        keepalived,
        &[
            (
                "userSpaceProxyBindPort: 65536",
                "6:33: error: userSpaceProxyBindPort 65536 is out of range: 1 to 65535",
            ),
            (
                "userSpaceProxyBindPort: \"6444\"",
                "6:33: error: userSpaceProxyBindPort must be a whole number, not a string",
            ),
            (
                "disableLoadBalancer: 1",
                "6:30: error: disableLoadBalancer must be true or false, not a number",
            ),
            ("vrrpinstances: []", "6:9: error: unknown field \"vrrpinstances\" in keepalived"),
            (
                "virtualServers: 10.0.0.100",
                "6:25: error: virtualServers must be a list, not a string",
            ),
            (
                "virtualServers: [10.0.0.100]",
                "6:26: error: virtualServers[0] must be a mapping, not a string",
            ),
            (
                "configTemplateVRRP: /etc/vrrp.tmpl",
                "6:29: warning: configTemplateVRRP has no effect with type: Builtin",
            ),
            (
                "configTemplateVS: /etc/vs.tmpl",
                "6:27: warning: configTemplateVS has no effect with type: Builtin",
            ),
        ],
    );
    check(
        &keepalived("disableLoadBalancer: true\n  virtualServers: [{ipAddress: 10.0.0.100}]"),
        &["k0s.yaml:7:25: warning: virtualServers have no effect beside disableLoadBalancer: true"],
    );
}

/// The 206th instance would count on to 256.
#[test]
fn computed_router_ids_end_at_255() {
    let document = |count: u8| {
        let instances: Vec<String> = (0..count)
            .map(|index| format!("\n  - {{authPass: a, virtualIPs: [10.0.{index}.1/24]}}"))
            .collect();
        control_plane(&format!("keepalived:\n  vrrpInstances:{}", instances.concat()))
    };
    let found = control_plane_of(&document(205));
    assert_eq!(found.vrrp_instances[204].virtual_router_id, 255);
    check(
        &document(206),
        &[
            "k0s.yaml:211:11: error: virtualRouterID would be 256, beyond 255: 51 and the index of the instance",
        ],
    );
}

#[test]
fn virtual_server_defaults() {
    let found = control_plane_of(&keepalived("virtualServers: [{ipAddress: 10.0.0.100}]"));
    let expected = VirtualServer {
        ip_address: [10, 0, 0, 100].into(),
        delay_loop: Duration::from_secs(60),
        lb_algo: LbAlgo::Rr,
        lb_kind: LbKind::Dr,
        persistence_timeout: Duration::from_secs(360),
    };
    assert_eq!(found.virtual_servers, std::slice::from_ref(&expected));
    let zero = "ipAddress: 10.0.0.100, delayLoop: 0s, lbAlgo: \"\", lbKind: \"\", persistenceTimeoutSeconds: 0";
    let found = control_plane_of(&keepalived(&format!("virtualServers: [{{{zero}}}]")));
    assert_eq!(found.virtual_servers, [expected]);
}

#[test]
fn virtual_server_fields() {
    let server = |field: &str| {
        let text = keepalived(&format!("virtualServers: [{{ipAddress: 10.0.0.100, {field}}}]"));
        control_plane_of(&text).virtual_servers.remove(0)
    };
    assert_eq!(server("delayLoop: 1234567ns").delay_loop, Duration::from_micros(1234));
    assert_eq!(server("lbAlgo: lblc").lb_algo, LbAlgo::Lblc);
    assert_eq!(server("lbKind: TUN").lb_kind, LbKind::Tun);
    let month = server("persistenceTimeoutSeconds: 2678400").persistence_timeout;
    assert_eq!(month, Duration::from_secs(31 * 24 * 60 * 60));

    fn document(fields: &str) -> String {
        keepalived(&format!("virtualServers:\n  - {fields}"))
    }
    check_each(
        document,
        &[
            ("{}", "7:11: error: virtualServers[0] has no ipAddress"),
            ("ipAddress: \"\"", "7:11: error: virtualServers[0] has no ipAddress"),
            ("ipAddress: kube", "7:22: error: ipAddress \"kube\" is no IP address"),
            (
                "ipAddress: 10.0.0.100/24",
                "7:22: error: ipAddress \"10.0.0.100/24\" is no IP address",
            ),
        ],
    );
    fn with(field: &str) -> String {
        document(&format!("ipAddress: 10.0.0.100\n    {field}"))
    }
    check_each(
        with,
        &[
            ("delayLoop: -1s", "8:22: error: delayLoop must be at least one microsecond"),
            ("delayLoop: 999ns", "8:22: error: delayLoop must be at least one microsecond"),
            ("delayLoop: 60", "8:22: error: delayLoop must be a duration, not a number"),
            (
                "lbAlgo: fo",
                "8:19: error: lbAlgo \"fo\" is none of rr, wrr, lc, wlc, lblc, dh, sh, sed, nq, mh",
            ),
            ("lbKind: dr", "8:19: error: lbKind \"dr\" is none of NAT, DR, TUN"),
            (
                "persistenceTimeoutSeconds: -1",
                "8:38: error: persistenceTimeoutSeconds -1 is out of range: 1 to 2678400",
            ),
            (
                "persistenceTimeoutSeconds: 2678401",
                "8:38: error: persistenceTimeoutSeconds 2678401 is out of range: 1 to 2678400",
            ),
            ("lbalgo: rr", "8:11: error: unknown field \"lbalgo\" in virtualServers[0]"),
        ],
    );
}

#[test]
fn load_balancer_fields() {
    let found = control_plane_of(&control_plane(
        "loadBalancer:\n  maxConnections: 5000\n  drainTimeout: 0s\n  redirect: none\n  healthCheck:\n    \
         interval: 500ms\n    fall: 3\n    rise: 1",
    ));
    let expected = LoadBalancer {
        health_check: HealthCheck {
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(450),
            fall: 3,
            rise: 1,
        },
        max_connections: Some(5000),
        drain_timeout: Duration::ZERO,
        redirect: Redirect::None,
        ..LoadBalancer::default()
    };
    assert_eq!(found.load_balancer, expected);
    fn document(field: &str) -> String {
        control_plane(&format!("loadBalancer:\n  {field}"))
    }
    check_each(
        document,
        &[
            ("maxConnections: 0", "5:25: error: maxConnections 0 is out of range: 1 to 4294967295"),
            ("drainTimeout: -1s", "5:23: error: drainTimeout -1s is out of range: 0ns to 3600s"),
            ("drainTimeout: 30", "5:23: error: drainTimeout must be a duration, not a number"),
            (
                "redirect: ebpf",
                "5:19: error: redirect \"ebpf\" is none of auto, nftables, iptables, none",
            ),
            ("healthcheck: {}", "5:9: error: unknown field \"healthcheck\" in loadBalancer"),
            (
                "healthCheck: {interval: 99ms}",
                "5:33: error: interval 99ms is out of range: 100ms to 3600s",
            ),
            (
                "healthCheck: {timeout: 1100ms}",
                "5:32: error: timeout 1100ms is out of range: 1ms to 1s",
            ),
            ("healthCheck: {fall: 0}", "5:29: error: fall 0 is out of range: 1 to 100"),
            ("healthCheck: {rise: 101}", "5:29: error: rise 101 is out of range: 1 to 100"),
            ("healthCheck: {path: /healthz}", "5:23: error: unknown field \"path\" in healthCheck"),
        ],
    );
}
