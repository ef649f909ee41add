//! One entry of `virtualServers`.

use std::time::Duration;

use crate::reader::Field;
use crate::report::{Place, Report};
use crate::settings::{LbAlgo, LbKind, VirtualServer};

const FIELDS: &[&str] =
    &["ipAddress", "delayLoop", "lbAlgo", "lbKind", "persistenceTimeoutSeconds"];
const DEFAULT_DELAY_LOOP: Duration = Duration::from_secs(60);
const DEFAULT_PERSISTENCE_SECONDS: u64 = 360;
/// 31 days.
const LONGEST_PERSISTENCE_SECONDS: u64 = 2_678_400;
const LB_ALGOS: &[LbAlgo] = &[
    LbAlgo::Rr,
    LbAlgo::Wrr,
    LbAlgo::Lc,
    LbAlgo::Wlc,
    LbAlgo::Lblc,
    LbAlgo::Dh,
    LbAlgo::Sh,
    LbAlgo::Sed,
    LbAlgo::Nq,
    LbAlgo::Mh,
];
const LB_KINDS: &[LbKind] = &[LbKind::Nat, LbKind::Dr, LbKind::Tun];

/// Reads a virtual server, together with the place of its address; absent without an address.
pub(crate) fn read(item: &Field<'_>, report: &mut Report) -> Option<(VirtualServer, Place)> {
    let block = item.mapping(report)?;
    block.refuse_unknown(FIELDS, report);

    let algos: Vec<_> = LB_ALGOS.iter().map(|algo| (algo.name(), *algo)).collect();
    let kinds: Vec<_> = LB_KINDS.iter().map(|kind| (kind.name(), *kind)).collect();
    let ip_address = block.field("ipAddress").filter(|field| !field.is_empty_string());
    if ip_address.is_none() {
        let message = format!("{} has no ipAddress", block.place.name());
        report.error(&block.place, message, "give it one of the virtualIPs, without prefix");
    }
    let lb_algo = block
        .read("lbAlgo", report, |field, report| field.choice_or_empty(&algos, report))
        .unwrap_or_default();
    let lb_kind = block
        .read("lbKind", report, |field, report| field.choice_or_empty(&kinds, report))
        .unwrap_or_default();
    let delay_loop = block.read("delayLoop", report, delay_loop).unwrap_or(DEFAULT_DELAY_LOOP);
    let persistence_seconds = block
        .read("persistenceTimeoutSeconds", report, |field, report| {
            field.integer_or_zero(1..=LONGEST_PERSISTENCE_SECONDS, report)
        })
        .unwrap_or(DEFAULT_PERSISTENCE_SECONDS);

    let ip_address = ip_address?.address(report)?;
    let server = VirtualServer {
        ip_address,
        delay_loop,
        lb_algo,
        lb_kind,
        persistence_timeout: Duration::from_secs(persistence_seconds),
    };
    Some((server, block.place_of("ipAddress")))
}

/// In whole microseconds, the rest cut off; zero stands for the default.
fn delay_loop(field: &Field<'_>, report: &mut Report) -> Option<Duration> {
    let nanoseconds = field.nanoseconds(report)?;
    if nanoseconds == 0 {
        return None;
    }
    let microseconds = u64::try_from(nanoseconds / 1000).ok().filter(|whole| *whole > 0);
    if microseconds.is_none() {
        report.error(
            &field.place,
            "delayLoop must be at least one microsecond",
            "leave it out for the default of 1m",
        );
    }
    microseconds.map(Duration::from_micros)
}
