use super::super::finding::Severity;
use super::super::testing::target;
use super::*;

/// As k0s renders it.
const K0S: &str = "\
vrrp_instance k0s-vip-0 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 200
    authentication {
        auth_type PASS
        auth_pass BuyK0s
    }
    virtual_ipaddress {
        10.5.0.100/24
        fd05::100/64 dev eth0 # the second
    }
}
";

fn process(line: &str, environment: &[&str]) -> Process {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    Process {
        pid: 321,
        parent: 300,
        name: arguments[0].rsplit('/').next().unwrap().to_owned(),
        arguments,
        environment: environment.iter().map(|&one| one.to_owned()).collect(),
    }
}

fn judged(process: Process, text: Option<&str>) -> (Severity, String) {
    let mut findings =
        check(&[process.clone(), process], &target(), |_| text.map(ToOwned::to_owned));
    assert_eq!(findings.len(), 1, "its children are not told apart: {findings:?}");
    let finding = findings.remove(0);
    (finding.severity, finding.seen)
}

#[test]
fn claims_are_read_from_a_configuration() {
    let read = claims(K0S);
    assert_eq!(read.router_ids, BTreeSet::from([51]));
    let addresses = ["10.5.0.100", "fd05::100"].map(|text| text.parse().unwrap());
    assert_eq!(read.addresses, BTreeSet::from(addresses));
    let one_line = claims("virtual_ipaddress { 10.0.0.7/32 }\n! virtual_router_id 9\n10.0.0.8\n");
    assert_eq!(one_line.router_ids, BTreeSet::new());
    assert_eq!(one_line.addresses, BTreeSet::from(["10.0.0.7".parse().unwrap()]));
}

#[test]
fn the_keepalived_of_k0s_with_the_same_address_is_an_error() {
    let line = "/var/lib/k0s/bin/keepalived --dont-fork --use-file /run/k0s/keepalived.conf";
    assert_eq!(
        judged(process(line, &["_K0S_MANAGED=yes"]), Some(K0S)),
        (
            Severity::Error,
            "the keepalived of k0s runs on this host (pid 321, /run/k0s/keepalived.conf) for 10.5.0.100 as well"
                .into()
        )
    );
}

#[test]
fn the_keepalived_that_cplb_runs_is_no_rival() {
    let line = "/usr/sbin/keepalived --use-file /run/cplb/keepalived.conf";
    let child = Process { pid: 322, parent: 321, ..process(line, &[]) };
    let daemon = Process { pid: 300, parent: 1, ..process("/usr/bin/cplb controller", &[]) };
    let processes = [child, process(line, &[]), daemon];
    assert_eq!(
        check(&processes, &target(), |_| Some(K0S.to_owned())),
        [Finding::ok("rivals", "no other program here holds virtual IPs")]
    );
}

#[test]
fn another_keepalived_is_judged_by_its_file() {
    let other = "virtual_router_id 51\nvirtual_ipaddress {\n 10.5.0.200\n}";
    assert_eq!(
        judged(process("/usr/sbin/keepalived -f /tmp/k.conf", &[]), Some(other)),
        (
            Severity::Error,
            "keepalived runs on this host (pid 321, /tmp/k.conf) as virtual router 51 too".into()
        )
    );
    let unrelated = "virtual_router_id 7\nvirtual_ipaddress {\n 10.5.0.200\n}";
    assert_eq!(
        judged(process("/usr/sbin/keepalived", &[]), Some(unrelated)),
        (
            Severity::Ok,
            "keepalived runs on this host (pid 321, /etc/keepalived/keepalived.conf), for other addresses".into()
        )
    );
    assert_eq!(judged(process("/usr/sbin/keepalived", &[]), None).0, Severity::Warning);
}

#[test]
fn kube_vip_is_known_by_its_environment() {
    let same = process("/kube-vip manager", &["address=10.5.0.100", "vip_interface=eth0"]);
    assert_eq!(
        judged(same, None),
        (Severity::Error, "kube-vip runs on this host (pid 321) for 10.5.0.100 as well".into())
    );
    let other = process("/kube-vip manager", &["vip_address=10.5.0.7"]);
    assert_eq!(judged(other, None).0, Severity::Ok);
}

#[test]
fn a_component_with_the_virtual_ip_as_its_own_address_is_an_error() {
    let virtual_ips: [IpAddr; 2] = ["10.0.0.100", "fd00::100"].map(|text| text.parse().unwrap());
    for line in [
        "/usr/bin/kubelet --config /x --node-ip 10.0.0.100",
        "/usr/bin/kubelet --node-ip=10.0.0.11,fd00::100",
        "kube-apiserver --advertise-address=10.0.0.100",
        "etcd --initial-advertise-peer-urls=https://10.0.0.100:2380",
        "etcd --initial-advertise-peer-urls=https://[fd00::100]:2380",
    ] {
        let findings = check_node_address(&[process(line, &[])], &virtual_ips);
        assert_eq!(findings.len(), 1, "{line}");
        assert_eq!(findings[0].severity, Severity::Error);
    }
    for line in [
        "/usr/bin/kubelet --node-ip=10.0.0.10",
        "etcd --initial-advertise-peer-urls=https://10.0.0.10:100",
        "kubectl --server 10.0.0.100",
    ] {
        assert_eq!(check_node_address(&[process(line, &[])], &virtual_ips), [], "{line}");
    }
}
