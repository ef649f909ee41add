//! The status as metrics, in the text format of OpenMetrics 1.0.
//!
//! Nothing is kept here: every scrape reads the same [`Report`] that `cplb status` shows.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use crate::status::{Histogram, Report};

mod load_balancer;
mod service;
mod virtual_routers;
mod virtual_servers;
mod worker;

#[cfg(test)]
mod tests;

/// The media type of [`text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The report as OpenMetrics text.
pub(crate) fn text(report: Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(report)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape(Report);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(report) = self;
        let mut families = Families(encoder);
        node(&mut families, report)?;
        virtual_routers::encode(&mut families, &report.virtual_routers)?;
        match (&report.worker, &report.keepalived) {
            (Some(worker), _) => worker::encode(&mut families, worker)?,
            (None, Some(keepalived)) => virtual_routers::of_keepalived(&mut families, keepalived)?,
            (None, None) => virtual_routers::packets(&mut families, report)?,
        }
        let Some(balancer) = &report.load_balancer else { return Ok(()) };
        let pod = report.worker.as_ref().is_some_and(|it| it.image.is_some());
        let proxied = balancer.virtual_servers.is_empty() && !pod;
        load_balancer::encode(&mut families, balancer, proxied)?;
        service::extra_ports(&mut families, &balancer.extra_ports)
    }
}

fn node(families: &mut Families<'_>, report: &Report) -> fmt::Result {
    let [ready, leaving] = match &report.worker {
        None => [
            "1 while this node is ready to hold the virtual IPs",
            "1 while this node hands the virtual IPs over and stops",
        ],
        Some(_) => [
            "1 while an apiserver answers through the balancer of this node",
            "1 while this node lets its connections end and stops",
        ],
    };
    families.info(
        "cplb_build",
        "The version of cplb that runs",
        [vec![("version", report.version.to_owned())]],
    )?;
    families.seconds(
        "process_start_time",
        "When the process started, in Unix time",
        [(vec![], unix_time(report.started_at))],
    )?;
    families.gauge("cplb_ready", ready, [(vec![], u64::from(report.ready))])?;
    families.gauge("cplb_leaving", leaving, [(vec![], u64::from(report.leaving))])
}

/// Names and values of labels, in their order.
type Labels = Vec<(&'static str, String)>;

/// Writes metric families one after another. One without samples is left out.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.gauge_in(name, help, None, samples)
    }

    /// The unit becomes the end of the name.
    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        self.gauge_in(name, help, Some(&Unit::Seconds), samples)
    }

    /// `_total` becomes the end of the name.
    fn counter<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.counter_in(name, help, None, samples)
    }

    /// `_bytes_total` becomes the end of the name.
    fn bytes(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        self.counter_in(name, help, Some(&Unit::Bytes), samples)
    }

    /// `_seconds` becomes the end of the name.
    fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, &'h Histogram)>,
    ) -> fmt::Result {
        // Nothing was ever counted where there are no bounds.
        let counted = |(_, histogram): &(Labels, &Histogram)| !histogram.buckets.is_empty();
        let mut samples = samples.into_iter().filter(counted).peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let unit = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        samples.try_for_each(|(labels, histogram)| {
            let Histogram { count, sum_ms, .. } = histogram;
            let buckets = buckets(histogram);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(sum_ms / 1_000.0, *count, &buckets, None)
        })
    }

    /// `_info` becomes the end of the name, the labels are the content.
    fn info(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Labels>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Info)?;
        samples.try_for_each(|labels| family.encode_info(&labels))
    }

    fn gauge_in<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        samples.try_for_each(|(labels, value)| match labels.as_slice() {
            [] => family.encode_gauge(&value),
            _ => family.encode_family(&labels)?.encode_gauge(&value),
        })
    }

    fn counter_in<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        samples.try_for_each(|(labels, value)| match labels.as_slice() {
            [] => family.encode_counter(&value, NO_EXEMPLAR),
            _ => family.encode_family(&labels)?.encode_counter(&value, NO_EXEMPLAR),
        })
    }
}

/// Bounds in seconds, and how many are between each and the one before, the last without bound.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let bounded = histogram.buckets.iter().map(|it| (it.at_most_ms / 1_000.0, it.count));
    let cumulative = bounded.chain([(f64::INFINITY, histogram.count)]);
    let mut before = 0;
    let between = cumulative.map(|(bound, count)| {
        let more = count.saturating_sub(before);
        before = count;
        (bound, more)
    });
    between.collect()
}

fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
