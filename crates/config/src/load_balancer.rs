//! `controlPlaneLoadBalancing.loadBalancer`: a block k0s does not know.

use std::time::Duration;

use crate::reader::Mapping;
use crate::report::Report;
use crate::settings::{HealthCheck, LoadBalancer, Redirect};

const FIELDS: &[&str] = &["healthCheck", "maxConnections", "drainTimeout", "redirect"];
const HEALTH_CHECK_FIELDS: &[&str] = &["interval", "timeout", "fall", "rise"];
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const REDIRECTS: &[(&str, Redirect)] = &[
    ("auto", Redirect::Auto),
    ("nftables", Redirect::Nftables),
    ("iptables", Redirect::Iptables),
    ("none", Redirect::None),
];

pub(crate) fn read(block: &Mapping<'_>, report: &mut Report) -> LoadBalancer {
    block.refuse_unknown(FIELDS, report);
    let defaults = LoadBalancer::default();
    let health_check = block.read("healthCheck", report, |field, report| {
        Some(read_health_check(&field.mapping(report)?, report))
    });
    LoadBalancer {
        health_check: health_check.unwrap_or_default(),
        max_connections: block
            .read("maxConnections", report, |field, report| field.integer(1..=u32::MAX, report)),
        drain_timeout: block
            .read("drainTimeout", report, |field, report| {
                field.duration(Duration::ZERO..=HOUR, report)
            })
            .unwrap_or(defaults.drain_timeout),
        redirect: block
            .read("redirect", report, |field, report| field.choice(REDIRECTS, report))
            .unwrap_or(defaults.redirect),
    }
}

fn read_health_check(block: &Mapping<'_>, report: &mut Report) -> HealthCheck {
    block.refuse_unknown(HEALTH_CHECK_FIELDS, report);
    let defaults = HealthCheck::default();
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
