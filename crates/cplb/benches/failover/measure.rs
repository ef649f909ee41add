use std::time::Instant;

use crate::case::Event;
use crate::client::{Client, DEADLINE};
use crate::cluster::Cluster;
use crate::common::error::Error;
use crate::common::span::Span;
use crate::figures::Sample;

/// Has one event happen to the holder, at the given share of the advertisement interval, and sees
/// what comes of it.
pub(crate) fn measure(
    cluster: &mut Cluster,
    event: Event,
    share: (u32, u32),
) -> Result<Sample, Error> {
    let node = cluster.settle()?;
    if event == Event::Rejoin {
        cluster.stop(node)?;
    }
    let client = Client::start(cluster.client())?;
    cluster.wait_for_answers(&client)?;
    cluster.wait_for_phase(share)?;

    let begin = Instant::now();
    cluster.befall(node, event)?;
    cluster.pause((begin + event.watched()).saturating_duration_since(Instant::now()))?;
    let window = begin..Instant::now();
    cluster.pause(DEADLINE * 2)?;

    let times = cluster.times(&window);
    let holdings = cluster.holdings();
    let by_two = match holdings.at(times.end).len() {
        0 | 1 => Span::Lasted(holdings.time_with(&times, |holders| holders > 1)),
        _ => Span::Endless,
    };
    let left = event.is_death().then(|| match holdings.released_after(node, times.start) {
        Some(time) if time < event.watched() => Span::Lasted(time),
        _ => Span::Endless,
    });
    Ok(Sample { silence: client.longest_silence(&window), by_two, left })
}
