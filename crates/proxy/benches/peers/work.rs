use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Clients, Load, Then, bulk};
use crate::error::Error;
use crate::lan::{Lan, PROXY};
use crate::meter::Meter;
use crate::peer::Peer;

/// What a proxy is given to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Connections that rest after one exchange.
    Idle,
    /// Connections with one exchange each, 16 at a time.
    Connections,
    /// Exchanges on 16 connections that stay open.
    Exchanges,
    /// Many bytes one way.
    Bulk { is_upload: bool, streams: usize },
    /// Thousands of clients that come within one second.
    Storm,
}

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds on a processor per unit of work: a connection, an exchange, a byte; for idle
    /// connections the share of one processor that all together take.
    pub(crate) cpu: f64,
    /// Seconds from begin to end per unit of work.
    pub(crate) wall: f64,
    /// Seconds until the response, or in a storm until the backend had accepted: the 99th
    /// percentile.
    pub(crate) p99: f64,
    /// Bytes of memory per idle connection.
    pub(crate) memory: f64,
    /// Descriptors per idle connection.
    pub(crate) descriptors: f64,
    /// Connections that failed.
    pub(crate) failed: usize,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) idle: usize,
    pub(crate) connections: usize,
    pub(crate) exchanges: usize,
    pub(crate) bytes: u64,
    pub(crate) storm: usize,
}

/// At once, where that is not what is measured.
const AT_ONCE: usize = 16;

/// A proxy has seen the end of every connection by then.
const SETTLE: Duration = Duration::from_millis(200);

impl Work {
    pub(crate) const ALL: [Self; 8] = [
        Self::Idle,
        Self::Connections,
        Self::Exchanges,
        Self::Bulk { is_upload: false, streams: 1 },
        Self::Bulk { is_upload: false, streams: 8 },
        Self::Bulk { is_upload: true, streams: 1 },
        Self::Bulk { is_upload: true, streams: 8 },
        Self::Storm,
    ];

    /// Has the proxy in the middle of the LAN do it.
    pub(crate) fn measure(
        self,
        lan: &Lan,
        peer: Peer,
        meter: &Meter,
        scale: Scale,
        origin: Instant,
    ) -> Result<Sample, Error> {
        lan.client.run(|| match self {
            Self::Idle => idle(meter, scale.idle, origin),
            Self::Connections => {
                let exchanges = scale.connections;
                exchange(meter, Load { exchanges, then: Then::Anew, ..LOAD }, origin)
            }
            Self::Exchanges => {
                let exchanges = scale.exchanges;
                exchange(meter, Load { exchanges, then: Then::Again, ..LOAD }, origin)
            }
            Self::Bulk { is_upload, streams } => {
                let before = meter.cpu();
                let wall = bulk(peer.bulk(), streams, scale.bytes, is_upload)?;
                sleep(SETTLE);
                let cpu = meter.cpu().saturating_sub(before);
                let per_byte = |time: Duration| time.as_secs_f64() / scale.bytes as f64;
                Ok(Sample { cpu: per_byte(cpu), wall: per_byte(wall), ..Sample::default() })
            }
            Self::Storm => storm(meter, scale.storm, origin),
        })?
    }
}

const LOAD: Load =
    Load { exchanges: 0, connections: AT_ONCE, within: Duration::ZERO, then: Then::Again };

fn exchange(meter: &Meter, load: Load, origin: Instant) -> Result<Sample, Error> {
    let mut clients = Clients::new(PROXY, origin)?;
    let before = meter.cpu();
    let mut seen = clients.carry(load)?;
    clients.close();
    sleep(SETTLE);
    let cpu = meter.cpu().saturating_sub(before);
    let each = |time: Duration| time.as_secs_f64() / load.exchanges as f64;
    Ok(Sample {
        cpu: each(cpu),
        wall: each(seen.wall),
        p99: percentile(&mut seen.latencies),
        failed: seen.failed,
        ..Sample::default()
    })
}

fn idle(meter: &Meter, count: usize, origin: Instant) -> Result<Sample, Error> {
    let mut clients = Clients::new(PROXY, origin)?;
    let few = Load { exchanges: count / 20, connections: AT_ONCE, then: Then::Anew, ..LOAD };
    clients.carry(few)?;
    clients.close();
    sleep(SETTLE);
    let before = meter.usage();
    // As fast as they come, but not all in one instant.
    let within = Duration::from_micros(250) * count as u32;
    let load = Load { exchanges: count, connections: count, within, then: Then::Rest };
    let seen = clients.carry(load)?;
    sleep(Duration::from_secs(1));
    let resting = meter.usage();
    let watched = Duration::from_secs(3);
    sleep(watched);
    let cpu = meter.cpu().saturating_sub(resting.cpu);
    let open = clients.open().max(1) as f64;
    clients.close();
    sleep(SETTLE);
    Ok(Sample {
        cpu: cpu.as_secs_f64() / watched.as_secs_f64(),
        memory: (resting.memory as f64 - before.memory as f64) / open,
        descriptors: (resting.descriptors as f64 - before.descriptors as f64) / open,
        failed: seen.failed,
        ..Sample::default()
    })
}

fn storm(meter: &Meter, count: usize, origin: Instant) -> Result<Sample, Error> {
    let mut clients = Clients::new(PROXY, origin)?;
    let before = meter.cpu();
    let within = Duration::from_secs(1);
    let load = Load { exchanges: count, connections: count, within, then: Then::Rest };
    let mut seen = clients.carry(load)?;
    let cpu = meter.cpu().saturating_sub(before);
    clients.close();
    sleep(SETTLE);
    Ok(Sample {
        cpu: cpu.as_secs_f64() / count as f64,
        wall: seen.wall.as_secs_f64() / count as f64,
        p99: percentile(&mut seen.reached),
        failed: seen.failed,
        ..Sample::default()
    })
}

/// The 99th, in seconds.
fn percentile(nanoseconds: &mut [u64]) -> f64 {
    if nanoseconds.is_empty() {
        return f64::INFINITY;
    }
    let position = nanoseconds.len() * 99 / 100;
    *nanoseconds.select_nth_unstable(position).1 as f64 / 1e9
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => formatter.write_str("idle"),
            Self::Connections => formatter.write_str("connections"),
            Self::Exchanges => formatter.write_str("exchanges"),
            Self::Bulk { is_upload, streams } => {
                let direction = if *is_upload { "upload" } else { "download" };
                write!(formatter, "{direction}-{streams}")
            }
            Self::Storm => formatter.write_str("storm"),
        }
    }
}
