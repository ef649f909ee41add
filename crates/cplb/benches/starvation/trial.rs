use std::time::{Duration, Instant};

use crate::Options;
use crate::case::{Case, Scenario};
use crate::cluster::Cluster;
use crate::common::error::Error;
use crate::common::interrupt::Interrupt;
use crate::common::span::Span;
use crate::common::speaker::Scheduling;
use crate::load::Load;
use crate::outcome::Results;
use crate::oversleep::Oversleep;

/// How long a scenario lasts when there is little time.
const QUICK: Duration = Duration::from_secs(30);

/// After the load. What it caused shows within this.
const AFTER: Duration = Duration::from_secs(5);

/// Puts clusters through a scenario, all at the same time, and adds what became of them.
pub(crate) fn run(
    scenario: Scenario,
    cases: &[Case],
    options: &Options,
    interrupt: &Interrupt,
    results: &mut Results,
) -> Result<(), Error> {
    let origin = Instant::now();
    let build = |case: &Case| Cluster::build(*case, origin, interrupt);
    let mut clusters: Vec<Cluster> = cases.iter().map(build).collect::<Result<_, _>>()?;
    clusters.iter_mut().try_for_each(Cluster::start)?;
    clusters.iter().try_for_each(Cluster::settle)?;
    let schedulings: Vec<Scheduling> =
        clusters.iter().map(Cluster::scheduling).collect::<Result<_, _>>()?;
    let said_before: Vec<Option<u64>> = clusters.iter().map(Cluster::said).collect();

    let oversleep = Oversleep::watch()?;
    let begin = origin.elapsed();
    let load = Load::start(scenario, &clusters, options.busy)?;
    let lasts = match (options.quick, options.seconds) {
        (true, _) => QUICK,
        (false, Some(seconds)) => Duration::from_secs(seconds),
        (false, None) => scenario.lasts(),
    };
    let outcome = endure(scenario, &clusters, lasts, interrupt);
    let circumstances = load.describe();
    drop(load);
    let late = Span::Lasted(oversleep.longest());
    results.note(&format!(
        "{scenario}, {}: {circumstances}; a witness was at most {late} late",
        Span::Lasted(origin.elapsed() - begin),
    ));
    // An interruption does not hide what was seen until then.
    let outcome = outcome.and_then(|()| interrupt.pause(AFTER));

    let window = begin..origin.elapsed();
    for ((cluster, scheduling), before) in clusters.iter().zip(schedulings).zip(said_before) {
        let said = cluster.said().zip(before).map(|(said, before)| said - before);
        let became = cluster.outcome(&window, scheduling, said);
        eprintln!("{}: {became:?}", cluster.case());
        if options.logs {
            cluster.logs().texts().iter().for_each(|text| eprintln!("---\n{text}"));
        }
        results.add(cluster.case(), became);
    }
    outcome
}

/// Lets the time pass.
fn endure(
    scenario: Scenario,
    clusters: &[Cluster],
    lasts: Duration,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    if scenario == Scenario::Unread {
        clusters.iter().for_each(|cluster| cluster.logs().stall());
    }
    let outcome = interrupt.pause(lasts);
    // From now on the daemons can say again what they did.
    clusters.iter().for_each(|cluster| cluster.logs().flow());
    outcome
}
