use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use lab::client::{self, Client, Figures};
use lab::world::{HostPlan, Plan, World};

use crate::balancer::Balancer;
use crate::loss::Loss;

/// What the client met from the loss on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Requests begun.
    pub(crate) requests: u64,
    /// Of these, how many got no connection or no TLS handshake.
    pub(crate) failed_connects: u64,
    /// Of these, how many failed later: they were in flight.
    pub(crate) failed_later: u64,
    /// The slowest handshake that succeeded.
    pub(crate) slowest: Duration,
    /// Until the last request that failed or was slow had begun.
    pub(crate) harmed_for: Duration,
}

/// From one request to the next.
const INTERVAL: Duration = Duration::from_millis(10);
/// Longer than any balancer's health checks take to find a loss: k0s' take 25 to 30 s.
const WATCHED: Duration = Duration::from_secs(35);
/// A balancer that has harmed nobody for so long has found it.
const QUIET: Duration = Duration::from_secs(8);
/// A handshake that takes longer has been to the lost controller.
const SLOW: Duration = Duration::from_millis(100);
/// Slices in which harm is looked for.
const SLICE: Duration = Duration::from_millis(100);
/// How long everything may take to become well.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A world of its own for each measurement: nothing is left of the one before.
pub(crate) fn measure(balancer: &Balancer, loss: Loss) -> Result<Sample, Box<dyn Error>> {
    let subnet: VirtualAddress = "10.0.0.100/24".parse()?;
    let cplb = Path::new(env!("CARGO_BIN_EXE_cplb"));
    let mut world = World::build(Plan::new(cplb, "", &[subnet], 3)?)?;
    world.add_host("worker", &HostPlan { addresses: vec!["10.0.0.31/24".parse()?] })?;
    for node in 0..3 {
        world.node_mut(node).apiserver.start()?;
    }
    let _running = balancer.start(&world)?;

    let origin = Instant::now();
    let options = client::Options {
        address: "127.0.0.1:7443".parse()?,
        watch: None,
        ..world.client_options(INTERVAL)
    };
    let client = Client::start(&world.others()[0].namespace, options, origin)?;
    await_well(&client, origin)?;

    let begin = origin.elapsed();
    loss.happen(&mut world)?;
    let mut quiet_since = begin;
    let mut looked = begin;
    while looked < begin + WATCHED && looked < quiet_since + QUIET {
        std::thread::sleep(SLICE);
        let slice = looked..looked + SLICE;
        if client.has_finished(slice.end) {
            if is_harmed(&client.figures(&slice)) {
                quiet_since = slice.end;
            }
            looked = slice.end;
        }
    }
    let figures = client.figures(&(begin..looked));
    let failed: u64 = figures.failures.values().sum();
    let failed_connects = figures.failed_connects + figures.failed_handshakes;
    Ok(Sample {
        requests: figures.requests,
        failed_connects,
        failed_later: failed - failed_connects,
        slowest: figures.slowest_handshake,
        harmed_for: quiet_since - begin,
    })
}

/// Until all three have answered for two seconds, and nothing has failed.
fn await_well(client: &Client, origin: Instant) -> Result<(), Box<dyn Error>> {
    loop {
        std::thread::sleep(SLICE);
        let now = origin.elapsed();
        let window = now.saturating_sub(Duration::from_secs(2))..now;
        let figures = client.figures(&window);
        let well = figures.replicas.len() == 3 && !is_harmed(&figures);
        if now > Duration::from_secs(3) && well {
            return Ok(());
        }
        if now > START_LIMIT {
            return Err(format!("not well within {START_LIMIT:?}: {figures:?}").into());
        }
    }
}

fn is_harmed(figures: &Figures) -> bool {
    !figures.failures.is_empty() || figures.slowest_handshake > SLOW
}
