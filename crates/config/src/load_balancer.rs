//! `controlPlaneLoadBalancing.loadBalancer`: a block k0s does not know.

use std::net::IpAddr;
use std::time::Duration;

use crate::extra_port;
use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::secrets::quoted;
use crate::settings::{Balance, Cidr, ExtraPort, HealthCheck, LoadBalancer, Redirect};

const FIELDS: &[&str] = &[
    "healthCheck",
    "balance",
    "maxConnections",
    "maxConnectionsPerSource",
    "allowedSources",
    "drainTimeout",
    "redirect",
    "rebalance",
    "extraPorts",
];
pub(crate) const HEALTH_CHECK_FIELDS: &[&str] = &["interval", "timeout", "fall", "rise"];
const BALANCES: &[(&str, Balance)] =
    &[("roundRobin", Balance::RoundRobin), ("leastConnections", Balance::LeastConnections)];
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const MOST_REBALANCED: u32 = 1_000;
const REDIRECTS: &[(&str, Redirect)] = &[
    ("auto", Redirect::Auto),
    ("nftables", Redirect::Nftables),
    ("iptables", Redirect::Iptables),
    ("none", Redirect::None),
];

/// Where the fields stand that other parts of the document have to agree with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// One for each of the settings' extra ports.
    pub(crate) extra_ports: Vec<extra_port::Places>,
    /// Settings of the proxy alone, each where it is given, by name.
    pub(crate) of_the_proxy: Vec<(&'static str, Place)>,
}

/// What only a proxy can do, not the kernel.
const OF_THE_PROXY: &[&str] =
    &["balance", "maxConnectionsPerSource", "allowedSources", "rebalance", "extraPorts"];

pub(crate) fn read(block: &Mapping<'_>, report: &mut Report) -> (LoadBalancer, Places) {
    block.refuse_unknown(FIELDS, report);
    let defaults = LoadBalancer::default();
    let health_check = block.read("healthCheck", report, |field, report| {
        let block = field.mapping(report)?;
        block.refuse_unknown(HEALTH_CHECK_FIELDS, report);
        Some(read_health_check(&block, defaults.health_check, report))
    });
    let health_check = health_check.unwrap_or_default();
    let (extra_ports, extra_port_places) = extra_ports(block, health_check, report);
    let count = |name, report: &mut Report| {
        block.read(name, report, |field, report| field.integer(1..=u32::MAX, report))
    };
    let settings = LoadBalancer {
        health_check,
        balance: block
            .read("balance", report, |field, report| field.choice(BALANCES, report))
            .unwrap_or_default(),
        max_connections: count("maxConnections", report),
        max_connections_per_source: count("maxConnectionsPerSource", report),
        allowed_sources: block.read("allowedSources", report, networks).unwrap_or_default(),
        drain_timeout: block
            .read("drainTimeout", report, |field, report| {
                field.duration(Duration::ZERO..=HOUR, report)
            })
            .unwrap_or(defaults.drain_timeout),
        redirect: block
            .read("redirect", report, |field, report| field.choice(REDIRECTS, report))
            .unwrap_or(defaults.redirect),
        rebalance: block.read("rebalance", report, rebalance),
        extra_ports,
    };
    let place = |name: &&'static str| Some((*name, block.place_if_given(name)?));
    let of_the_proxy = OF_THE_PROXY.iter().filter_map(place).collect();
    (settings, Places { extra_ports: extra_port_places, of_the_proxy })
}

/// The block may have other fields as well.
pub(crate) fn read_health_check(
    block: &Mapping<'_>,
    defaults: HealthCheck,
    report: &mut Report,
) -> HealthCheck {
    let interval = block
        .read("interval", report, |field, report| field.duration(SHORTEST_INTERVAL..=HOUR, report))
        .unwrap_or(defaults.interval);
    // A check must be over before the next one begins.
    let timeout = block
        .read("timeout", report, |field, report| {
            field.duration(Duration::from_millis(1)..=interval, report)
        })
        .unwrap_or_else(|| defaults.timeout.min(interval * 9 / 10));
    let mut count = |name, default| {
        block.read(name, report, |field, report| field.integer(1..=100, report)).unwrap_or(default)
    };
    HealthCheck {
        interval,
        timeout,
        fall: count("fall", defaults.fall),
        rise: count("rise", defaults.rise),
    }
}

fn extra_ports(
    block: &Mapping<'_>,
    health_check: HealthCheck,
    report: &mut Report,
) -> (Vec<ExtraPort>, Vec<extra_port::Places>) {
    let items = block.read("extraPorts", report, Field::items).unwrap_or_default();
    items.iter().filter_map(|item| extra_port::read(item, health_check, report)).unzip()
}

fn rebalance(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    let block = field.mapping(report)?;
    block.refuse_unknown(&["connectionsPerSecond"], report);
    let rate = block.read("connectionsPerSecond", report, |field, report| {
        field.integer(1..=MOST_REBALANCED, report)
    });
    if block.field("connectionsPerSecond").is_none() {
        report.error(
            &block.place,
            "rebalance without connectionsPerSecond",
            "say how many connections may be ended a second, or leave rebalance out for none",
        );
    }
    rate
}

fn networks(field: &Field<'_>, report: &mut Report) -> Option<Vec<Cidr>> {
    let items = field.items(report)?;
    Some(items.iter().filter_map(|item| network(item, report)).collect())
}

/// An address alone is the network of that address.
fn network(item: &Field<'_>, report: &mut Report) -> Option<Cidr> {
    let text = item.string(report)?;
    let name = item.place.name();
    let Some(network) = parse_network(text) else {
        report.error(
            &item.place,
            format!("{name} {} is no network", quoted(text)),
            "write it as in 10.0.0.0/8, fd00::/8, or an address alone",
        );
        return None;
    };
    let meant = Cidr { address: masked(network), ..network };
    if meant != network {
        report.error(
            &item.place,
            format!("{name} {network} has bits set beyond its prefix length"),
            format!("write {meant}, or {} for that address alone", network.address),
        );
        return None;
    }
    Some(network)
}

fn parse_network(text: &str) -> Option<Cidr> {
    let (address, prefix_length) = match text.split_once('/') {
        Some((address, prefix_length)) => (address, Some(prefix_length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = match prefix_length {
        Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => longest,
    };
    (prefix_length <= longest).then_some(Cidr { address, prefix_length })
}

fn masked(network: Cidr) -> IpAddr {
    let beyond = |bits: u8| u32::from(bits - network.prefix_length);
    match network.address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(beyond(32)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(beyond(128)).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}
