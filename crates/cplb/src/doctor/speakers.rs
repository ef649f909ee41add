//! Who else speaks for our virtual routers: other clusters, other settings, two Active ones. Pure.

use std::net::IpAddr;

use vrrp::{Advertisement, Version};

use super::Finding;
use super::target::{Agreed, Router};
use crate::scan::Speaker;

#[cfg(test)]
mod tests;

const CHECK: &str = "vrrp";

/// What the speakers heard mean for one virtual router of ours.
///
/// `active_here`: this host's own daemon is Active in it; what it sends is not heard.
pub(crate) fn check(router: &Router, speakers: &[Speaker], active_here: bool) -> Vec<Finding> {
    let same = |speaker: &&Speaker| {
        speaker.interface == router.link.name
            && speaker.virtual_router_id == router.id
            && speaker.source.is_ipv4() == router.is_ipv4()
    };
    let mut findings = Vec::new();
    let mut active = Vec::new();
    for speaker in speakers.iter().filter(same) {
        match difference(router, speaker) {
            Some(finding) => findings.push(finding),
            None => active.push(speaker),
        }
    }
    findings.push(match settled(&active).as_slice() {
        [] if active_here => Finding::ok(CHECK, format!("{}: this node is Active", named(router))),
        [] => Finding::ok(CHECK, format!("{}: nobody is heard as Active", named(router))),
        [one] if !active_here => Finding::ok(CHECK, format!("{}: {one} is Active", named(router))),
        several => several_active(router, several, active_here),
    });
    findings
}

/// Those that went on speaking: the loser of an election sends once or twice.
fn settled(active: &[&Speaker]) -> Vec<IpAddr> {
    let leaves = |speaker: &Speaker| speaker.advertisement().is_some_and(|said| said.priority == 0);
    let lasting = active.iter().filter(|speaker| speaker.packets > 2 && !leaves(speaker));
    lasting.map(|speaker| speaker.source).collect()
}

fn several_active(router: &Router, others: &[IpAddr], active_here: bool) -> Finding {
    let mut names: Vec<String> = others.iter().map(ToString::to_string).collect();
    if active_here {
        names.push("this node".to_owned());
    }
    Finding::error(CHECK, format!("{}: {} are all Active", named(router), names.join(", ")))
        .because("several nodes hold the virtual IP, and hosts reach one or the other by chance")
        .advise(
            "their advertisements do not reach one another: let IP protocol 112 pass between all nodes, or use unicastPeers",
        )
}

/// How a speaker differs from what this node is to run.
fn difference(router: &Router, speaker: &Speaker) -> Option<Finding> {
    let source = speaker.source;
    let on = named(router);
    let said = match &speaker.said {
        Ok((said, _)) => said,
        Err(reason) => {
            return Some(
                Finding::error(
                    CHECK,
                    format!("{on}: {source} sends what nobody can read: {reason}"),
                )
                .because(FLAPS)
                .advise(OWN_ID),
            );
        }
    };
    if said.version != router.version {
        let (theirs, ours) = (number(said.version), number(router.version));
        return Some(
            Finding::error(CHECK, format!("{on}: {source} speaks VRRPv{theirs}, not VRRPv{ours}"))
                .because(FLAPS)
                .advise(format!(
                    "if it is a node of this cluster, give it version: {ours}; {OWN_ID}"
                )),
        );
    }
    if let Some(finding) = router.agreed.and_then(|agreed| disagreement(&on, source, said, agreed))
    {
        return Some(finding);
    }
    if let Some(finding) = other_addresses(router, source, said) {
        return Some(finding);
    }
    (speaker.hop_limit != vrrp::HOP_LIMIT).then(|| {
        Finding::error(
            CHECK,
            format!("{on}: packets of {source} come with TTL {}", speaker.hop_limit),
        )
        .because(
            "they passed a router, or are forged: every node drops them (RFC 9568 section 7.1)",
        )
        .advise("find out who sends them; VRRP nodes share one network segment")
    })
}

/// What RFC 3768 section 7.1 has a router drop the packet for.
fn disagreement(on: &str, source: IpAddr, said: &Advertisement, agreed: Agreed) -> Option<Finding> {
    if said.authentication.kind() != agreed.authentication.kind() {
        return Some(
            Finding::error(
                CHECK,
                format!(
                    "{on}: {source} uses another authentication type ({})",
                    authentication(said)
                ),
            )
            .because(FLAPS)
            .advise(OWN_ID),
        );
    }
    if said.authentication != agreed.authentication {
        return Some(
            Finding::error(CHECK, format!("{on}: {source} uses another password"))
                .because(FLAPS)
                .advise(format!(
                    "if it is a node of this cluster, give it the same authPass; {OWN_ID}"
                )),
        );
    }
    if said.interval == agreed.interval {
        return None;
    }
    let seen = format!(
        "{on}: {source} advertises every {:?}, not every {:?}",
        said.interval, agreed.interval
    );
    let advice = "give every node the same advertIntervalSeconds or advertInterval";
    // Version 3 takes the Active router's interval from its packets (RFC 9568 section 6.4.2).
    Some(match said.version {
        Version::V2 => Finding::error(CHECK, seen)
            .because("VRRPv2 drops such packets (RFC 3768 section 7.1): both sides become Active")
            .advise(advice),
        Version::V3 => Finding::warning(CHECK, seen)
            .because("the time a failover takes depends on who was Active")
            .advise(advice),
    })
}

fn other_addresses(router: &Router, source: IpAddr, said: &Advertisement) -> Option<Finding> {
    let ours = router.addresses();
    let shared = said.addresses.iter().filter(|address| ours.contains(address)).count();
    if shared == ours.len() && shared == said.addresses.len() {
        return None;
    }
    let on = named(router);
    let theirs: Vec<String> = said.addresses.iter().map(ToString::to_string).collect();
    let seen = format!("{on}: {source} advertises {}", theirs.join(", "));
    if shared == 0 {
        return Some(
            Finding::error(CHECK, format!("{seen}, none of which is ours"))
                .because("another cluster uses this identifier: only one of both is ever Active")
                .advise(OWN_ID),
        );
    }
    Some(
        Finding::warning(CHECK, format!("{seen}, which is not the list configured here"))
            .because("after a failover an address is missing, or one too many is there")
            .advise("give every node the same virtualIPs"),
    )
}

/// Measured: two clusters on one identifier put off each other's advertisements in keepalived.
const FLAPS: &str = "nodes of both sides cannot follow one another: keepalived nodes then change their state again and again";
const OWN_ID: &str =
    "if it is another cluster, choose another virtualRouterID; `cplb scan` names free ones";

fn named(router: &Router) -> String {
    format!("virtual router {} on {}", router.id, router.link.name)
}

const fn number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

fn authentication(said: &Advertisement) -> &'static str {
    if said.authentication.kind() == 0 { "none" } else { "a password" }
}
