//! One entry of `vrrpInstances`: a virtual router.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::interface;
use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::settings::{Checksum, Cidr, ControlPlaneKind, VrrpInstance, VrrpVersion};
use crate::virtual_ip;

const FIELDS: &[&str] = &[
    "virtualIPs",
    "interface",
    "virtualRouterID",
    "advertIntervalSeconds",
    "authPass",
    "unicastPeers",
    "unicastSourceIP",
    "addressLabel",
    "version",
    "advertInterval",
    "priority",
    "preempt",
    "preemptDelay",
    "startupDelay",
    "checksum",
];
/// The ID of the first instance where none is given; k0s counts on from here.
const FIRST_ROUTER_ID: usize = 51;
const DEFAULT_ADVERT_INTERVAL: Duration = Duration::from_secs(1);
/// The Authentication Data of VRRPv2 (RFC 2338 5.3.10).
const LONGEST_AUTH_PASS: usize = 8;
const DEFAULT_ADDRESS_LABEL: u32 = 10_000;
/// What keepalived.conf(5) reads otherwise than literally: comments, quotes, blocks, parameters.
const SPECIAL_TO_KEEPALIVED: &[char] = &['!', '#', '"', '\'', '{', '}', '$', '\\', '~'];
/// 255 means that the router owns the address, 0 that it leaves (RFC 9568 5.2.4).
const PRIORITIES: RangeInclusive<u8> = 1..=254;
const DEFAULT_PRIORITY: u8 = 200;
/// That of keepalived's `preempt_delay`, about a quarter of an hour.
const LONGEST_DELAY: Duration = Duration::from_secs(1000);
const CHECKSUMS: &[(&str, Checksum)] = &[
    ("auto", Checksum::Auto),
    ("keepalived", Checksum::Keepalived),
    ("rfc9568", Checksum::Rfc9568),
];

/// Where the fields stand that other parts of the document have to agree with.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) instance: Place,
    /// Absent where the ID is invalid.
    pub(crate) virtual_router_id: Option<Place>,
    /// One for each of the settings' virtual IPs.
    pub(crate) virtual_ips: Vec<Place>,
}

/// Reads the instance of this index; what is wrong is reported and left at its default.
pub(crate) fn read(
    item: &Field<'_>,
    index: usize,
    kind: ControlPlaneKind,
    report: &mut Report,
) -> Option<(VrrpInstance, Places)> {
    let block = item.mapping(report)?;
    block.refuse_unknown(FIELDS, report);

    let (virtual_ips, vip_places) = virtual_ip::read_all(&block, kind, report);
    let router_id = virtual_router_id(&block, index, report);
    let version = version(&block, &virtual_ips, report);
    let (unicast_source_ip, unicast_peers) = unicast(&block, &virtual_ips, report);
    let preempt = block.read("preempt", report, Field::boolean).unwrap_or(true);

    let instance = VrrpInstance {
        virtual_ips,
        interface: block.read("interface", report, interface::read).unwrap_or_default(),
        virtual_router_id: router_id.unwrap_or_default(),
        advert_interval: advert_interval(&block, version, report),
        auth_pass: auth_pass(&block, report),
        unicast_peers,
        unicast_source_ip,
        address_label: block
            .read("addressLabel", report, address_label)
            .unwrap_or(DEFAULT_ADDRESS_LABEL),
        version,
        priority: block
            .read("priority", report, |field, report| field.integer(PRIORITIES, report))
            .unwrap_or(DEFAULT_PRIORITY),
        preempt,
        preempt_delay: preempt_delay(&block, preempt, report),
        startup_delay: block.read("startupDelay", report, delay).unwrap_or_default(),
        checksum: block
            .read("checksum", report, |field, report| field.choice(CHECKSUMS, report))
            .unwrap_or_default(),
    };
    if kind == ControlPlaneKind::Keepalived {
        warn_of_delays(&block, &instance, report);
    }
    let places = Places {
        instance: block.place.clone(),
        virtual_router_id: router_id.map(|_| block.place_of("virtualRouterID")),
        virtual_ips: vip_places,
    };
    Some((instance, places))
}

fn virtual_router_id(block: &Mapping<'_>, index: usize, report: &mut Report) -> Option<u8> {
    if let Some(field) = block.field("virtualRouterID").filter(|field| !field.is_zero()) {
        return field.integer(1..=u8::MAX, report);
    }
    let computed = u8::try_from(FIRST_ROUTER_ID + index).ok();
    if computed.is_none() {
        let message = format!(
            "virtualRouterID would be {}, beyond 255: {FIRST_ROUTER_ID} and the index of the instance",
            FIRST_ROUTER_ID + index
        );
        report.error(&block.place_of("virtualRouterID"), message, "specify it explicitly");
    }
    computed
}

fn version(block: &Mapping<'_>, virtual_ips: &[Cidr], report: &mut Report) -> VrrpVersion {
    let ipv6 = virtual_ips.iter().find(|vip| vip.address.is_ipv6());
    let default = if ipv6.is_some() { VrrpVersion::V3 } else { VrrpVersion::V2 };
    let given = block.read("version", report, |field, report| field.integer(2..=3, report));
    let version = match given {
        Some(2) => VrrpVersion::V2,
        Some(_) => VrrpVersion::V3,
        None => default,
    };
    if let (VrrpVersion::V2, Some(vip)) = (version, ipv6) {
        let message = format!("version 2 cannot carry the IPv6 address {}", vip.address);
        report.error(
            &block.place_of("version"),
            message,
            "set version: 3, or leave it out: 3 is the default beside IPv6 virtualIPs",
        );
    }
    version
}

fn advert_interval(block: &Mapping<'_>, version: VrrpVersion, report: &mut Report) -> Duration {
    let seconds = block.field("advertIntervalSeconds");
    if let (Some(_), Some(field)) = (&seconds, block.field("advertInterval")) {
        report.error(
            &field.place,
            "both advertInterval and advertIntervalSeconds are given",
            "keep one of them",
        );
        return DEFAULT_ADVERT_INTERVAL;
    }
    let interval = match seconds {
        // RFC 3768 5.3.7: 8 bits of seconds; RFC 9568 5.2.7: 12 bits of centiseconds.
        Some(field) => {
            let longest = if version == VrrpVersion::V2 { 255 } else { 40 };
            field.integer_or_zero(1..=longest, report).map(Duration::from_secs)
        }
        None => block.read("advertInterval", report, |field, report| {
            sub_second_interval(field, version, report)
        }),
    };
    interval.unwrap_or(DEFAULT_ADVERT_INTERVAL)
}

fn sub_second_interval(
    field: &Field<'_>,
    version: VrrpVersion,
    report: &mut Report,
) -> Option<Duration> {
    let (range, unit, message, hint) = match version {
        VrrpVersion::V2 => (
            Duration::from_secs(1)..=Duration::from_secs(255),
            Duration::from_secs(1),
            "must be whole seconds from 1s to 255s with VRRP version 2",
            "version: 3 counts in hundredths of a second, up to 40.95s",
        ),
        VrrpVersion::V3 => (
            Duration::from_millis(10)..=Duration::from_millis(40_950),
            Duration::from_millis(10),
            "must be a multiple of 10ms from 10ms to 40.95s with VRRP version 3",
            "the wire counts in hundredths of a second (RFC 9568 5.2.7)",
        ),
    };
    let nanoseconds = field.nanoseconds(report)?;
    let interval = u64::try_from(nanoseconds).map(Duration::from_nanos).unwrap_or_default();
    if range.contains(&interval) && interval.as_nanos().is_multiple_of(unit.as_nanos()) {
        return Some(interval);
    }
    report.error(&field.place, format!("advertInterval {message}"), hint);
    None
}

fn preempt_delay(block: &Mapping<'_>, preempt: bool, report: &mut Report) -> Duration {
    let given = block.read("preemptDelay", report, delay).unwrap_or_default();
    if preempt || given.is_zero() {
        return given;
    }
    report.warning(
        &block.place_of("preemptDelay"),
        "preemptDelay has no effect with preempt: false",
        "set preempt: true, or remove it: nothing is taken over that could be delayed",
    );
    Duration::ZERO
}

/// keepalived has delays of its own, which hold back too who relieves a node that is not ready or leaves.
fn warn_of_delays(block: &Mapping<'_>, instance: &VrrpInstance, report: &mut Report) {
    for (name, given) in
        [("preemptDelay", instance.preempt_delay), ("startupDelay", instance.startup_delay)]
    {
        if !given.is_zero() {
            report.warning(
                &block.place_of(name),
                format!("{name} has no effect with type: Keepalived"),
                "take type: Builtin, or write keepalived's own delay into a configTemplateVRRP",
            );
        }
    }
}

fn delay(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    field.duration(Duration::ZERO..=LONGEST_DELAY, report)
}

/// Its value never shows up in a finding.
fn auth_pass(block: &Mapping<'_>, report: &mut Report) -> String {
    let Some(field) = block.field("authPass").filter(|field| !field.is_empty_string()) else {
        let message = format!("{} has no authPass", block.place.name());
        report.error(
            &block.place_of("authPass"),
            message,
            "give it 1 to 8 characters, the same on every controller",
        );
        return String::new();
    };
    let Some(text) = field.string(report) else { return String::new() };
    if text.len() > LONGEST_AUTH_PASS {
        report.error(
            &field.place,
            format!("authPass has {} bytes, 8 at most", text.len()),
            "VRRP sends 8 bytes: shorten it on every controller",
        );
    }
    let is_odd = |c: char| !c.is_ascii_graphic() || SPECIAL_TO_KEEPALIVED.contains(&c);
    if text.contains(is_odd) {
        report.warning(
            &field.place,
            "authPass has characters that keepalived reads differently",
            "letters and digits are safe: k0s renders it without quotes",
        );
    }
    text.to_owned()
}

/// Source and peers of unicast; both empty for multicast.
fn unicast(
    block: &Mapping<'_>,
    virtual_ips: &[Cidr],
    report: &mut Report,
) -> (Option<IpAddr>, Vec<IpAddr>) {
    let source_field = block.field("unicastSourceIP").filter(|field| !field.is_empty_string());
    let items = block.read("unicastPeers", report, Field::items).unwrap_or_default();
    if items.is_empty() {
        if let Some(field) = source_field {
            report.warning(
                &field.place,
                "unicastSourceIP has no effect without unicastPeers",
                "add the addresses of the other controllers as unicastPeers, or remove it",
            );
        }
        return (None, Vec::new());
    }
    let Some(source_field) = source_field else {
        report.error(
            &block.place_of("unicastPeers"),
            "unicastPeers without unicastSourceIP",
            "add this controller's own address as unicastSourceIP",
        );
        let peers = items.iter().filter_map(|item| host_address(item, report)).collect();
        return (None, peers);
    };
    let source = host_address(&source_field, report);
    if let Some(source) = source {
        check_carrier(&source_field, source, virtual_ips, report);
    }
    (source, peers(&items, source, report))
}

fn peers(items: &[Field<'_>], source: Option<IpAddr>, report: &mut Report) -> Vec<IpAddr> {
    let mut peers = Vec::new();
    for item in items {
        let Some(peer) = host_address(item, report) else { continue };
        if peers.contains(&peer) {
            report.error(&item.place, format!("{peer} is a peer already"), "remove it");
        } else if source == Some(peer) {
            report.error(
                &item.place,
                format!("{peer} is unicastSourceIP as well"),
                "a controller is not its own peer: remove it here",
            );
        } else if source.is_some_and(|source| source.is_ipv4() != peer.is_ipv4()) {
            report.error(
                &item.place,
                format!("{peer} is of another family than unicastSourceIP"),
                "adverts cannot cross: use one instance for IPv4 and one for IPv6",
            );
        }
        peers.push(peer);
    }
    peers
}

/// Adverts travel in the family of the addresses they are about (RFC 9568 5.1).
fn check_carrier(field: &Field<'_>, source: IpAddr, virtual_ips: &[Cidr], report: &mut Report) {
    let stranger = virtual_ips.iter().find(|vip| vip.address.is_ipv4() != source.is_ipv4());
    if let Some(vip) = stranger {
        let message = format!(
            "unicastSourceIP {source} is of another family than the virtual IP {}",
            vip.address
        );
        report.error(
            &field.place,
            message,
            "use one instance for IPv4 and one for IPv6, each with its own source and peers",
        );
    }
}

/// An address a router can send from and to.
fn host_address(field: &Field<'_>, report: &mut Report) -> Option<IpAddr> {
    let address = field.address(report)?;
    if address.is_unspecified() || address.is_multicast() {
        let message = format!("{} {address} is not the address of a host", field.place.name());
        report.error(&field.place, message, "use the address of a controller's interface");
        return None;
    }
    Some(address)
}

fn address_label(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    let label = field.integer_or_zero(0..=u32::MAX, report)?;
    if label == u32::MAX {
        report.error(
            &field.place,
            format!("addressLabel {label} is reserved by the kernel"),
            "leave it out for the default of 10000",
        );
        return None;
    }
    Some(label)
}
