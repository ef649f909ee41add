//! Fields that do not go together.

use crate::{accept, check};

/// A document with these VRRP instances, each on a line from line 6 on, column 11.
fn instances(lines: &[&str]) -> String {
    format!(
        "spec:\n  network:\n    controlPlaneLoadBalancing:\n      keepalived:\n        vrrpInstances:\n        - {}\n",
        lines.join("\n        - ")
    )
}

#[test]
fn router_ids_are_unique() {
    check(
        &instances(&[
            "{authPass: a, virtualIPs: [10.0.0.1/24], virtualRouterID: 7}",
            "{authPass: a, virtualIPs: [10.0.0.2/24], virtualRouterID: 7}",
        ]),
        &["k0s.yaml:7:69: error: vrrpInstances[1] has virtualRouterID 7 of vrrpInstances[0]"],
    );
    // 51 and the index, here of the second instance.
    check(
        &instances(&[
            "{authPass: a, virtualIPs: [10.0.0.1/24], virtualRouterID: 52}",
            "{authPass: a, virtualIPs: [10.0.0.2/24]}",
        ]),
        &["k0s.yaml:7:11: error: vrrpInstances[1] has virtualRouterID 52 of vrrpInstances[0]"],
    );
    check(
        &instances(&[
            "{authPass: a, virtualIPs: [10.0.0.1/24], virtualRouterID: 7, interface: eth0}",
            "{authPass: a, virtualIPs: [10.0.0.2/24], virtualRouterID: 7}",
        ]),
        &["k0s.yaml:7:69: error: vrrpInstances[1] has virtualRouterID 7 of vrrpInstances[0]"],
    );
}

/// An ID is one of a link and a family (RFC 9568 3).
#[test]
fn router_ids_of_other_links_and_families_are_free() {
    accept(&instances(&[
        "{authPass: a, virtualIPs: [10.0.0.1/24], virtualRouterID: 7, interface: eth0}",
        "{authPass: a, virtualIPs: [10.0.1.1/24], virtualRouterID: 7, interface: eth1}",
        "{authPass: a, virtualIPs: [\"fd00::1/64\"], virtualRouterID: 7, interface: eth0}",
    ]));
}

#[test]
fn a_virtual_ip_has_one_place() {
    check(
        &instances(&[
            "{authPass: a, virtualIPs: [10.0.0.1/24]}",
            "{authPass: a, virtualIPs: [10.0.0.2/24, 10.0.0.1/32]}",
        ]),
        &["k0s.yaml:7:51: error: virtual IP 10.0.0.1 stands in line 6, too"],
    );
    check(
        &instances(&["{authPass: a, virtualIPs: [10.0.0.1/24, 10.0.0.1/24]}"]),
        &["k0s.yaml:6:51: error: virtual IP 10.0.0.1 stands in line 6, too"],
    );
}

#[test]
fn a_virtual_ip_is_nobodys_own_address() {
    check(
        &format!(
            "{}  api: {{address: 10.0.0.1}}",
            instances(&["{authPass: a, virtualIPs: [10.0.0.1/24]}"])
        ),
        &["k0s.yaml:6:38: error: virtual IP 10.0.0.1 is api.address as well"],
    );
    check(
        &instances(&[
            "{authPass: a, virtualIPs: [10.0.0.1/24]}",
            "{authPass: a, virtualIPs: [10.0.0.2/24], unicastPeers: [10.0.0.1], unicastSourceIP: 10.0.0.3}",
        ]),
        &["k0s.yaml:6:38: error: virtual IP 10.0.0.1 is one of unicastPeers as well"],
    );
}

#[test]
fn keepalived_takes_one_family_of_an_instance() {
    let document = |kind: &str| {
        format!(
            "spec:\n  network:\n    controlPlaneLoadBalancing:\n      type: {kind}\n      keepalived:\n        \
             vrrpInstances:\n        - {{authPass: a, virtualIPs: [10.0.0.1/24, \"fd00::1/64\"]}}\n"
        )
    };
    accept(&document("Builtin"));
    check(
        &document("Keepalived"),
        &[
            "k0s.yaml:7:51: error: keepalived would drop fd00::1: it takes the family of the first, 10.0.0.1, alone",
        ],
    );
}

#[test]
fn virtual_servers_are_on_virtual_ips() {
    let document = |servers: &str| {
        format!(
            "{}        virtualServers: [{servers}]\n",
            instances(&["{authPass: a, virtualIPs: [10.0.0.1/24]}"])
        )
    };
    check(
        &document("{ipAddress: 10.0.0.2}"),
        &["k0s.yaml:7:38: error: virtual server 10.0.0.2 is none of the virtualIPs"],
    );
    check(
        &document("{ipAddress: 10.0.0.1}, {ipAddress: 10.0.0.1}"),
        &["k0s.yaml:7:61: error: a second virtual server on 10.0.0.1"],
    );
}

/// By DR and TUN packets to the virtual IP itself reach the apiserver; NAT gives them its own address.
#[test]
fn virtual_servers_take_an_apiserver_on_all_addresses() {
    let document = |more: &str| {
        format!(
            "{}        virtualServers: [{{ipAddress: 10.0.0.1{more}}}]\n  api: {{address: 10.0.0.11, onlyBindToAddress: \
             true}}\n",
            instances(&["{authPass: a, virtualIPs: [10.0.0.1/24]}"])
        )
    };
    check(
        &document(""),
        &["k0s.yaml:7:38: error: lbKind DR on 10.0.0.1 beside api.onlyBindToAddress"],
    );
    check(
        &document(", lbKind: TUN"),
        &["k0s.yaml:7:38: error: lbKind TUN on 10.0.0.1 beside api.onlyBindToAddress"],
    );
    accept(&document(", lbKind: NAT"));
}

const ENABLED: &str = "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances: [{authPass: a, virtualIPs: [10.0.0.1/24]}]
";

#[test]
fn external_address() {
    accept(&format!("{ENABLED}  api: {{externalAddress: 10.0.0.1}}"));
    accept(&format!("{ENABLED}  api: {{externalAddress: kube.example}}"));
    check(
        &format!("{ENABLED}  api: {{externalAddress: 10.0.0.9}}"),
        &["k0s.yaml:7:26: warning: externalAddress 10.0.0.9 is none of the virtualIPs"],
    );
    check(
        "spec:\n  api: {externalAddress: 10.0.0.9}\n  network:\n    nodeLocalLoadBalancing: {enabled: true}",
        &["k0s.yaml:4:39: error: nodeLocalLoadBalancing beside externalAddress \"10.0.0.9\""],
    );
    accept(
        "spec:\n  api: {externalAddress: 10.0.0.9}\n  network:\n    nodeLocalLoadBalancing: {enabled: false}",
    );
}

#[test]
fn ports_of_one_node() {
    for (api, proxy, expected) in [
        ("{}", 6443, "6:33: error: port 6443 is that of the apiserver (api.port), too"),
        ("{port: 6444}", 6444, "6:33: error: port 6444 is that of the apiserver (api.port), too"),
        ("{}", 9443, "6:33: error: port 9443 is that of the k0s API (api.k0sApiPort), too"),
        ("{}", 2380, "6:33: error: port 2380 is that of etcd, too"),
        (
            "{}",
            8132,
            "6:33: error: port 8132 is that of the konnectivity server (konnectivity.agentPort), too",
        ),
        ("{}", 10250, "6:33: warning: port 10250 is that of kubelet, too"),
        (
            "{k0sApiPort: 9445}",
            9445,
            "6:33: error: port 9445 is that of the k0s API (api.k0sApiPort), too",
        ),
    ] {
        let text = format!(
            "spec:\n  api: {api}\n  network:\n    controlPlaneLoadBalancing:\n      keepalived:\n        \
             userSpaceProxyBindPort: {proxy}\n        \
             vrrpInstances: [{{authPass: a, virtualIPs: [10.0.0.1/24]}}]\n      enabled: true"
        );
        check(&text, &[&format!("k0s.yaml:{expected}")]);
    }
    // The one that is a default is not to blame.
    check(
        &format!("{ENABLED}  api: {{port: 6444}}"),
        &[
            "k0s.yaml:7:15: error: port 6444 is that of the user space proxy (userSpaceProxyBindPort), too",
        ],
    );
    check(
        &format!("{ENABLED}  konnectivity: {{adminPort: 6444}}"),
        &[
            "k0s.yaml:7:29: error: port 6444 is that of the user space proxy (userSpaceProxyBindPort), too",
        ],
    );
    // Without a user space proxy nothing listens there.
    accept(&format!("{}  api: {{port: 6444}}", ENABLED.replace("enabled: true", "enabled: false")));
}

#[test]
fn ports_of_the_node_local_load_balancer() {
    let document = |role: &str, port: u16| {
        format!(
            "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec:\n  hosts: [{{role: {role}}}]\n  k0s:\n    \
             config:\n      spec:\n        network:\n          nodeLocalLoadBalancing: {{enabled: true, envoyProxy: \
             {{apiServerBindPort: {port}}}}}"
        )
    };
    accept(&document("controller+worker", 7444));
    let message = "port 6443 is that of the apiserver (api.port), too";
    check(&document("controller", 6443), &[&format!("k0s.yaml:9:83: warning: {message}")]);
    check(&document("controller+worker", 6443), &[&format!("k0s.yaml:9:83: error: {message}")]);
    check(
        &document("worker", 10250),
        &["k0s.yaml:9:83: error: port 10250 is that of kubelet, too"],
    );
    check(
        &document("worker", 7132),
        &[
            "k0s.yaml:9:83: error: port 7132 is that of the node-local load balancer (konnectivityServerBindPort), too",
        ],
    );
}

#[test]
fn roles_of_hosts() {
    let document = |role: &str, keepalived: &str| {
        format!(
            "apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\nspec:\n  hosts:\n  - role: {role}\n  k0s:\n    \
             config:\n      spec:\n        network:\n          controlPlaneLoadBalancing: {{enabled: true, keepalived: \
             {{vrrpInstances: [{{authPass: a, virtualIPs: [10.0.0.1/24]}}]{keepalived}}}}}"
        )
    };
    let servers = ", virtualServers: [{ipAddress: 10.0.0.1}]";
    accept(&document("controller", servers));
    accept(&document("controller+worker", ""));
    check(
        &document("controller+worker", servers),
        &["k0s.yaml:5:11: error: role controller+worker beside virtualServers"],
    );
    check(
        &document("single", ""),
        &["k0s.yaml:5:11: error: role single beside an enabled controlPlaneLoadBalancing"],
    );
    check(
        "spec:\n  hosts: [{role: single}]\n  k0s:\n    config:\n      spec: {network: {nodeLocalLoadBalancing: \
         {enabled: true}}}",
        &["k0s.yaml:2:18: error: role single beside an enabled nodeLocalLoadBalancing"],
    );
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    check(
        "spec:
  api:
    port: 70000
  network:
    nodeLocalLoadBalancing:
      type: HAProxy
    controlPlaneLoadBalancing:
      enabled: yes please
      keepalived:
        virtualServers:
        - ipAddress: 10.0.0.9
        vrrpInstances:
        - virtualIPs: [10.0.0.1]
          virtualRouterID: 0x100
          authPass: NineBytes
        - virtualIPs: [10.0.0.2/24, 10.0.0.2/24]
          authPass: a
",
        &[
            "k0s.yaml:3:11: error: port 70000 is out of range: 1 to 65535",
            "k0s.yaml:6:13: error: type \"HAProxy\" is none of EnvoyProxy, Traefik, Builtin",
            "k0s.yaml:8:16: error: enabled must be true or false, not a string",
            "k0s.yaml:11:22: error: virtual server 10.0.0.9 is none of the virtualIPs",
            "k0s.yaml:13:24: error: virtualIPs[0] \"10.0.0.1\" has no prefix length",
            "k0s.yaml:14:28: error: virtualRouterID 256 is out of range: 1 to 255",
            "k0s.yaml:15:21: error: authPass has 9 bytes, 8 at most",
            "k0s.yaml:16:37: error: virtual IP 10.0.0.2 stands in line 16, too",
        ],
    );
}

#[test]
fn at_most_255_of_everything() {
    let list = |item: fn(u16) -> String| (0..256).map(item).collect::<Vec<_>>().join(", ");
    let virtual_ips = list(|host| format!("10.0.{}.{}/16", host / 100, host % 100 + 1));
    check(
        &instances(&[&format!("{{authPass: a, virtualIPs: [{virtual_ips}]}}")]),
        &["k0s.yaml:6:37: error: more than 255 virtualIPs of one family"],
    );
    let many = list(|host| format!("{{authPass: a, virtualIPs: [10.0.{host}.1/24]}}"));
    let text = format!(
        "spec:\n  network:\n    controlPlaneLoadBalancing:\n      keepalived:\n        vrrpInstances: [{many}]\n"
    );
    let findings = config::load("k0s.yaml", &text).findings;
    assert_eq!(
        findings[0].to_string().lines().next(),
        Some("k0s.yaml:5:24: error: 256 vrrpInstances, 255 at most")
    );
}
