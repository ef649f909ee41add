use std::net::IpAddr;

use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Link, Mac, Selector, number};
use crate::address::{self, Found};
use crate::error::{Listing, Suggestion};
use crate::netlink::{Message, Received, Socket};
use crate::{Error, link};

/// How alike a misspelt name must be to be proposed (Jaro-Winkler: 1 is the same).
const ALIKE: f64 = 0.8;

pub(super) fn find(socket: &mut Socket, selector: &Selector) -> Result<Link, Error> {
    let links = link::list(socket)?;
    match selector {
        Selector::Name(name) => by_name(links, name),
        Selector::Mac(mac) => by_mac(socket, links, *mac),
        Selector::DefaultRoute => by_default_route(socket, links),
    }
}

fn by_name(mut links: Vec<Link>, name: &str) -> Result<Link, Error> {
    match links.iter().position(|link| link.name == name) {
        Some(position) => Ok(links.swap_remove(position)),
        None => Err(Error::NoSuchLink {
            wanted: name.to_owned(),
            suggestion: alike(&links, name),
            available: names(&links),
        }),
    }
}

fn by_mac(socket: &mut Socket, links: Vec<Link>, mac: Mac) -> Result<Link, Error> {
    if !links.iter().any(|link| link.mac == Some(mac)) {
        return Err(Error::NoSuchLink {
            wanted: format!("with the MAC address {mac}"),
            suggestion: Suggestion(None),
            available: Listing(
                links
                    .iter()
                    .filter_map(|link| Some(format!("{} ({})", link.name, link.mac?)))
                    .collect(),
            ),
        });
    }
    let addresses = address::list(socket)?;
    let mut candidates = sharing(links, mac, &addresses);
    match candidates.len() {
        1 => Ok(candidates.swap_remove(0)),
        _ => Err(Error::AmbiguousMac { mac, candidates: names(&candidates) }),
    }
}

/// The interfaces with this MAC address, without those that are clearly not meant: the ports of a
/// bond or bridge, those without addresses where another has some, those on top of another.
pub(super) fn sharing(links: Vec<Link>, mac: Mac, addresses: &[Found]) -> Vec<Link> {
    let mut candidates = links;
    candidates.retain(|link| link.mac == Some(mac));
    prefer(&mut candidates, |link| link.master.is_none());
    prefer(&mut candidates, |link| {
        addresses.iter().any(|found| found.link_index == link.index && !is_link_local(found))
    });
    let left: Vec<u32> = candidates.iter().map(|link| link.index).collect();
    prefer(&mut candidates, |link| link.lower.is_none_or(|lower| !left.contains(&lower)));
    candidates
}

/// Keeps those that fit, unless none does.
fn prefer(candidates: &mut Vec<Link>, fits: impl Fn(&Link) -> bool) {
    if candidates.iter().any(&fits) {
        candidates.retain(fits);
    }
}

/// Every interface that is up has an IPv6 link-local address, so that one tells nothing.
fn is_link_local(found: &Found) -> bool {
    match found.address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn by_default_route(socket: &mut Socket, mut links: Vec<Link>) -> Result<Link, Error> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let index = default_route(socket, family)?;
        let position = links.iter().position(|link| Some(link.index) == index);
        if let Some(position) = position {
            return Ok(links.swap_remove(position));
        }
    }
    Err(Error::NoDefaultRoute { available: names(&links) })
}

/// The interface index of the default route with the lowest metric.
fn default_route(socket: &mut Socket, family: AddressFamily) -> Result<Option<u32>, Error> {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    let message = RouteNetlinkMessage::GetRoute(message);
    let routes = socket.dump(&Message::typed(&message, 0), "list the routes", |received| {
        Ok(DefaultRoute::parse(received))
    })?;
    Ok(routes.into_iter().min_by_key(|route| route.metric).map(|route| route.link_index))
}

struct DefaultRoute {
    metric: u32,
    link_index: u32,
}

impl DefaultRoute {
    /// Reads RTM_NEWROUTE; `None` for any other route than a default route of the main table.
    fn parse(received: &Received<'_>) -> Option<Self> {
        // struct rtmsg
        let [_family, destination_length, _, _, table, _, _, kind, flags @ ..] =
            received.body.first_chunk::<12>()?;
        let cached = u32::from_ne_bytes(*flags) & libc::RTM_F_CLONED != 0;
        let main = *table == libc::RT_TABLE_MAIN;
        if *destination_length != 0 || *kind != libc::RTN_UNICAST || !main || cached {
            return None;
        }
        let (mut metric, mut link_index) = (0, None);
        for (attribute, value) in received.attributes(12) {
            match attribute {
                libc::RTA_PRIORITY => metric = number(value)?,
                libc::RTA_OIF => link_index = number(value),
                // struct rtnexthop: length, flags, weight, then the index of the first path.
                libc::RTA_MULTIPATH => link_index = value.get(4..8).and_then(number),
                _ => {}
            }
        }
        Some(Self { metric, link_index: link_index? })
    }
}

fn alike(links: &[Link], name: &str) -> Suggestion {
    let likeness = |link: &Link| strsim::jaro_winkler(&link.name, name);
    let nearest = links.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    Suggestion(nearest.filter(|link| likeness(link) >= ALIKE).map(|link| link.name.clone()))
}

fn names(links: &[Link]) -> Listing {
    Listing(links.iter().map(|link| link.name.clone()).collect())
}
