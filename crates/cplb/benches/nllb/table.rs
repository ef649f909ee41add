use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::balancer::Balancer;
use crate::loss::Loss;
use crate::measure::Sample;

/// All samples, by case.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<(Loss, Balancer), Vec<Sample>>);

impl Results {
    pub(crate) fn add(&mut self, loss: Loss, balancer: &Balancer, sample: Sample) {
        self.0.entry((loss, balancer.clone())).or_default().push(sample);
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| apiservers | balancer | requests | no connection | lost in flight | slowest handshake | harm ends after |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|")?;
        for ((loss, balancer), samples) in &self.0 {
            let counts =
                |of: fn(&Sample) -> u64| range(samples.iter().map(of), |it| it.to_string());
            let times = |of: fn(&Sample) -> Duration| {
                range(samples.iter().map(of), |it| match it.is_zero() {
                    true => "0".to_owned(),
                    false => format!("{it:.1?}"),
                })
            };
            writeln!(
                f,
                "| {loss} | {balancer} | {} | {} | {} | {} | {} |",
                counts(|it| it.requests),
                counts(|it| it.failed_connects),
                counts(|it| it.failed_later),
                times(|it| it.slowest),
                times(|it| it.harmed_for),
            )?;
        }
        Ok(())
    }
}

/// The least and the most, or the one that both are.
fn range<T: Ord + Copy>(
    values: impl Iterator<Item = T> + Clone,
    show: impl Fn(T) -> String,
) -> String {
    let (Some(least), Some(most)) = (values.clone().min(), values.max()) else {
        return String::new();
    };
    if least == most { show(least) } else { format!("{} to {}", show(least), show(most)) }
}

/// What the figures depend on beside the balancers.
pub(crate) fn surroundings(envoy: Option<&Path>) -> String {
    let version = |envoy: &Path| {
        let output = Command::new(envoy).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // COMMIT/VERSION/STATUS/BUILD/TLS
        Some(text.trim().rsplit(' ').next()?.split('/').nth(1)?.to_owned())
    };
    let envoy = envoy.and_then(version).map_or_else(String::new, |it| format!(", Envoy {it}"));
    let system = rustix::system::uname();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "- cplb {version}{build}{envoy}\n- {name} {release} {machine}, {processors} processors\n- load average after: {load}\n",
        version = env!("CARGO_PKG_VERSION"),
        build = if cfg!(debug_assertions) { " (not optimised)" } else { "" },
        name = system.sysname().to_string_lossy(),
        release = system.release().to_string_lossy(),
        machine = system.machine().to_string_lossy(),
        processors = std::thread::available_parallelism().map_or(1, usize::from),
        load = load.split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}
