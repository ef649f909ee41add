use super::*;

fn plan(virtual_addresses: &[&str]) -> Result<Plan, Error> {
    let addresses: Vec<VirtualAddress> =
        virtual_addresses.iter().map(|text| text.parse().unwrap()).collect();
    Plan::new(Path::new("cplb"), "", &addresses, 3)
}

fn shown(addresses: &[VirtualAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn the_subnet_of_the_virtual_ip() {
    let plan = plan(&["10.0.0.100/24"]).unwrap();
    assert_eq!(shown(&plan.gateways), ["10.0.0.1/24"]);
    assert_eq!(shown(&plan.nodes[0].addresses), ["10.0.0.11/24"]);
    assert_eq!(shown(&plan.nodes[2].addresses), ["10.0.0.13/24"]);
    assert_eq!(shown(&plan.client.addresses), ["10.0.0.50/24"]);
}

#[test]
fn virtual_ips_are_skipped() {
    let plan = plan(&["10.0.0.11/24", "10.0.0.1/24"]).unwrap();
    assert_eq!(shown(&plan.gateways), ["10.0.0.2/24"]);
    assert_eq!(shown(&plan.nodes[0].addresses), ["10.0.0.3/24"]);
    assert_eq!(shown(&plan.nodes[1].addresses), ["10.0.0.12/24"]);
}

#[test]
fn small_subnets_and_none_at_all() {
    let small = plan(&["192.168.7.34/28"]).unwrap();
    assert_eq!(shown(&small.gateways), ["192.168.7.33/28"]);
    assert_eq!(shown(&small.client.addresses), ["192.168.7.35/28"]);
    assert_eq!(shown(&small.nodes[0].addresses), ["192.168.7.43/28"]);
    assert_eq!(shown(&plan(&["10.0.0.100/32"]).unwrap().client.addresses), ["10.0.0.50/24"]);
    assert!(matches!(plan(&["10.0.0.1/30"]), Err(Error::SubnetTooSmall { nodes: 3, .. })));
    assert!(matches!(plan(&[]), Err(Error::NoVirtualAddress)));
}

#[test]
fn both_families() {
    let plan = plan(&["10.0.0.100/24", "fd00:5::100/64", "10.0.0.101/24"]).unwrap();
    assert_eq!(shown(&plan.nodes[0].addresses), ["10.0.0.11/24", "fd00:5::b/64"]);
    let gateways: Vec<IpAddr> = plan.default_gateways().collect();
    assert_eq!(gateways, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00:5::1".parse().unwrap()]);
}
