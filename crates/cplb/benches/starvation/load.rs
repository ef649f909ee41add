//! What the machine is put through.

mod busy;
mod disk;
mod flood;

use std::time::{Duration, Instant};

use crate::case::Scenario;
use crate::cluster::Cluster;
use crate::common::error::Error;
use crate::common::span::Span;
use busy::{Busy, Processors};
use disk::Disk;
use flood::Flood;

/// All of it, until dropped.
pub(crate) struct Load {
    busy: Busy,
    disk: Option<Disk>,
    floods: Vec<Flood>,
    begin: Instant,
    processors: Processors,
}

impl Load {
    /// `busy` threads on each processor.
    pub(crate) fn start(
        scenario: Scenario,
        clusters: &[Cluster],
        busy: u16,
    ) -> Result<Self, Error> {
        let floods = clusters.iter().filter(|cluster| cluster.case().has_load_balancer());
        // All clusters have their files on the same file system.
        let files = clusters
            .first()
            .filter(|_| scenario.is_everything())
            .map(|one| one.world().directory());
        Ok(Self {
            floods: floods.map(|one| Flood::start(one.world())).collect::<Result<_, _>>()?,
            disk: files.map(Disk::start).transpose()?,
            busy: Busy::start(busy)?,
            begin: Instant::now(),
            processors: Processors::now(),
        })
    }

    /// What it was until now.
    pub(crate) fn describe(&self) -> String {
        let Self { busy, disk, floods, begin, processors } = self;
        let time = begin.elapsed();
        let idle = Processors::now().idle_since(processors) * 100.0;
        let mut text = format!("{} busy threads, processors {idle:.1} % idle", busy.threads());
        for flood in floods {
            let [connections, answers] = [flood.connections(), flood.answers()];
            let [connections, answers] =
                [connections, answers].map(|count| each_second(count, time));
            let bytes = flood.bytes() as f64 / time.as_secs_f64() / 1e6;
            text.push_str(&format!(
                "; a flood of {connections:.0} connections, {answers:.0} HTTPS requests and {bytes:.0} MB a second"
            ));
        }
        if let Some(disk) = disk {
            let (syncs, slowest) = (disk.syncs(), Span::Lasted(disk.slowest()));
            let syncs = each_second(syncs, time);
            text.push_str(&format!("; {syncs:.0} fsyncs a second, the slowest took {slowest}"));
        }
        text
    }
}

fn each_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
