//! Finds the k0s configuration in the documents of a file, in any of the shapes people write it.

use crate::Position;
use crate::node::Node;
use crate::reader::{Field, Mapping, closest};
use crate::report::{Place, Report};

const K0S: &str = "k0s.k0sproject.io/v1beta1";
const K0SCTL: &str = "k0sctl.k0sproject.io/v1beta1";
const NO_CONFIGURATION: &str = "looked for a k0s ClusterConfig (apiVersion: \
    k0s.k0sproject.io/v1beta1), a k0sctl Cluster (apiVersion: k0sctl.k0sproject.io/v1beta1), \
    or a document without apiVersion and kind that has spec";
/// The blocks this program reads below `spec.network`.
const BLOCKS: &[&str] = &["controlPlaneLoadBalancing", "nodeLocalLoadBalancing"];

/// The parts of a k0s configuration that are read, each where it is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document<'a> {
    pub(crate) api: Option<Mapping<'a>>,
    pub(crate) konnectivity: Option<Mapping<'a>>,
    pub(crate) images: Option<Mapping<'a>>,
    pub(crate) network: Option<Mapping<'a>>,
    /// The hosts of a k0sctl document.
    pub(crate) hosts: Vec<Host<'a>>,
}

/// A host of a k0sctl document.
#[derive(Clone, Debug)]
pub(crate) struct Host<'a> {
    pub(crate) role: &'a str,
    pub(crate) place: Place,
}

/// Picks the one configuration out of all documents; absent once an error says why.
pub(crate) fn find<'a>(documents: &'a [Node], report: &mut Report) -> Option<Document<'a>> {
    let mut hosts = Vec::new();
    let mut configurations = Vec::new();
    let mut clusters: Vec<Mapping<'a>> = Vec::new();

    for root in documents.iter().filter_map(Mapping::root) {
        match shape(&root) {
            Shape::Configuration => configurations.push(root),
            Shape::Cluster => {
                hosts.extend(hosts_of(&root));
                warn_of_stray_blocks(&root, report);
                if let Some(spec) = root.peek_mapping("spec") {
                    warn_of_stray_blocks(&spec, report);
                }
                configurations.extend(embedded_configuration(&root, report));
                clusters.push(root);
            }
            Shape::Other => {}
        }
    }

    if let [first, second, ..] = &clusters[..] {
        let line = first.place.position.line;
        report.error(
            &second.place,
            format!("a second k0sctl Cluster, the first is in line {line}"),
            "keep one of them, or put the other in a file of its own",
        );
    }
    if let [first, second, ..] = &configurations[..] {
        let line = first.place.position.line;
        report.error(
            &second.place,
            format!("a second k0s configuration, the first is in line {line}"),
            "keep one of them, or put the other in a file of its own",
        );
    }
    let Some(configuration) = configurations.first() else {
        if clusters.is_empty() {
            let start = Place { position: Position::START, path: String::new() };
            report.error(&start, "no k0s configuration in this file", NO_CONFIGURATION);
            return None;
        }
        // k0sctl then installs k0s' defaults: no load balancing.
        return Some(Document { hosts, ..Document::default() });
    };
    Some(Document { hosts, ..sections(configuration, report) })
}

enum Shape {
    /// A k0s `ClusterConfig`, or the bare `spec` of one.
    Configuration,
    /// A k0sctl `Cluster`.
    Cluster,
    Other,
}

fn shape(root: &Mapping<'_>) -> Shape {
    let is_mapping = |name| root.peek_mapping(name).is_some();
    match (root.peek_string("apiVersion"), root.peek_string("kind")) {
        (Some(K0SCTL), Some("Cluster") | None) => Shape::Cluster,
        (Some(K0S), Some("ClusterConfig") | None) | (None, Some("ClusterConfig")) => {
            Shape::Configuration
        }
        (None, Some("Cluster") | None) if k0s_of(root).is_some() => Shape::Cluster,
        (None, None) if ["spec", "network", "api"].into_iter().any(is_mapping) => {
            Shape::Configuration
        }
        _ => Shape::Other,
    }
}

fn k0s_of<'a>(cluster: &Mapping<'a>) -> Option<Mapping<'a>> {
    cluster.peek_mapping("spec")?.peek_mapping("k0s")
}

/// `spec.k0s.config` of a k0sctl document.
fn embedded_configuration<'a>(cluster: &Mapping<'a>, report: &mut Report) -> Option<Mapping<'a>> {
    let k0s = k0s_of(cluster)?;
    warn_of_stray_blocks(&k0s, report);
    k0s.read("config", report, Field::mapping)
}

fn hosts_of<'a>(cluster: &Mapping<'a>) -> Vec<Host<'a>> {
    let hosts = cluster.peek_mapping("spec").and_then(|spec| spec.field("hosts")?.peek_items());
    let host = |item: Field<'a>| {
        let host = item.peek_mapping()?;
        Some(Host { role: host.peek_string("role")?, place: host.place_of("role") })
    };
    hosts.unwrap_or_default().into_iter().filter_map(host).collect()
}

fn sections<'a>(configuration: &Mapping<'a>, report: &mut Report) -> Document<'a> {
    let spec = configuration.read("spec", report, Field::mapping);
    warn_of_stray_blocks(configuration, report);
    if let Some(spec) = &spec {
        warn_of_stray_blocks(spec, report);
    }
    let api = section("api", configuration, spec.as_ref(), report);
    let network = section("network", configuration, spec.as_ref(), report);
    if let Some(network) = &network {
        warn_of_misspelt_blocks(network, report);
    }
    let unread = |name| spec.as_ref()?.peek_mapping(name);
    Document {
        api,
        konnectivity: unread("konnectivity"),
        images: unread("images"),
        network,
        hosts: Vec::new(),
    }
}

/// A section of the spec; articles print it without the `spec:` above, which k0s then ignores.
fn section<'a>(
    name: &str,
    configuration: &Mapping<'a>,
    spec: Option<&Mapping<'a>>,
    report: &mut Report,
) -> Option<Mapping<'a>> {
    let proper = spec.and_then(|spec| spec.field(name));
    let stray = configuration.field(name);
    if stray.is_some() {
        let place = configuration.place_of_key(name);
        let parent = match configuration.place.path.as_str() {
            "" => "at the top of the document".to_owned(),
            _ => format!("directly under {}", configuration.place.name()),
        };
        if proper.is_some() {
            report.error(
                &place,
                format!("{name} stands {parent}, and once more under spec"),
                "keep the one under spec",
            );
        } else {
            report.warning(
                &place,
                format!("{name} stands {parent}; it is read as spec.{name}"),
                format!("put \"spec:\" above {name} and indent it: k0s itself ignores it here"),
            );
        }
    }
    proper.or(stray)?.mapping(report)
}

fn warn_of_stray_blocks(mapping: &Mapping<'_>, report: &mut Report) {
    for (name, place) in mapping.keys() {
        let Some(meant) = closest(name, BLOCKS) else { continue };
        let parent = mapping.place.name();
        report.warning(
            &place,
            format!("{name} stands in {parent}, where it is not read"),
            format!("it belongs into spec.network, as {meant}"),
        );
    }
}

fn warn_of_misspelt_blocks(network: &Mapping<'_>, report: &mut Report) {
    for (name, place) in network.keys().filter(|(name, _)| !BLOCKS.contains(name)) {
        let Some(meant) = closest(name, BLOCKS) else { continue };
        report.warning(
            &place,
            format!("{name} in {} is not read", network.place.name()),
            format!("did you mean {meant}?"),
        );
    }
}
