//! `spec.network.nodeLocalLoadBalancing`.

use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::secrets::quoted;
use crate::settings::{
    BindPorts, Image, ImagePullPolicy, NodeLocalKind, NodeLocalLoadBalancing, ProxyPod,
};

const FIELDS: &[&str] = &["enabled", "type", "envoyProxy", "traefik", "builtin"];
const POD_FIELDS: &[&str] =
    &["image", "imagePullPolicy", "apiServerBindPort", "konnectivityServerBindPort"];
const BUILTIN_FIELDS: &[&str] = &["apiServerBindPort", "konnectivityServerBindPort"];
const IMAGE_FIELDS: &[&str] = &["image", "version"];
const KINDS: &[(&str, NodeLocalKind)] = &[
    ("EnvoyProxy", NodeLocalKind::EnvoyProxy),
    ("Traefik", NodeLocalKind::Traefik),
    ("Builtin", NodeLocalKind::Builtin),
];
const PULL_POLICIES: &[(&str, ImagePullPolicy)] = &[
    ("Always", ImagePullPolicy::Always),
    ("Never", ImagePullPolicy::Never),
    ("IfNotPresent", ImagePullPolicy::IfNotPresent),
];
/// The images of k0s 1.37.
const ENVOY: (&str, &str) = ("quay.io/k0sproject/envoy-distroless", "v1.39.0");
const TRAEFIK: (&str, &str) = ("quay.io/k0sproject/traefik", "v3.7.8-k0s.0");

/// Where the fields stand that other parts of the document have to agree with.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) enabled: Place,
    /// The ports of the chosen type, absent where they are left to their defaults.
    pub(crate) api_server_bind_port: Option<Place>,
    pub(crate) konnectivity_server_bind_port: Option<Place>,
}

/// What `spec.images` says about every image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Images<'a> {
    repository: Option<&'a str>,
    pull_policy: ImagePullPolicy,
}

impl<'a> Images<'a> {
    /// Reads `spec.images`, which is k0s' own: what does not fit is taken for absent.
    pub(crate) fn read(images: Option<&Mapping<'a>>) -> Self {
        let policy = images.and_then(|images| images.peek_string("default_pull_policy"));
        let known = PULL_POLICIES.iter().find(|(name, _)| Some(*name) == policy);
        Self {
            repository: images
                .and_then(|images| images.peek_string("repository"))
                .filter(|repository| !repository.is_empty()),
            pull_policy: known.map_or(ImagePullPolicy::IfNotPresent, |(_, policy)| *policy),
        }
    }
}

pub(crate) fn read(
    block: &Mapping<'_>,
    images: Images<'_>,
    report: &mut Report,
) -> (NodeLocalLoadBalancing, Places) {
    block.refuse_unknown(FIELDS, report);
    let enabled = block.read("enabled", report, Field::boolean).unwrap_or_default();
    let kind = block.read("type", report, |field, report| kind(field, enabled, report));
    let settings = NodeLocalLoadBalancing {
        enabled,
        kind: kind.unwrap_or_default(),
        envoy_proxy: read_pod(block, "envoyProxy", ENVOY, images, report),
        traefik: read_pod(block, "traefik", TRAEFIK, images, report),
        builtin: read_builtin(block, report),
    };
    let chosen = match settings.kind {
        NodeLocalKind::EnvoyProxy => "envoyProxy",
        NodeLocalKind::Traefik => "traefik",
        NodeLocalKind::Builtin => "builtin",
    };
    let port = |name| block.peek_mapping(chosen)?.place_if_given(name);
    let places = Places {
        enabled: block.place_of("enabled"),
        api_server_bind_port: port("apiServerBindPort"),
        konnectivity_server_bind_port: port("konnectivityServerBindPort"),
    };
    (settings, places)
}

fn kind(field: &Field<'_>, enabled: bool, report: &mut Report) -> Option<NodeLocalKind> {
    if !field.is_empty_string() {
        return field.choice(KINDS, report);
    }
    if enabled {
        report.error(
            &field.place,
            "type must not be empty where enabled is true",
            "leave it out for EnvoyProxy, or name EnvoyProxy, Traefik or Builtin",
        );
    }
    None
}

fn read_pod(
    parent: &Mapping<'_>,
    name: &str,
    default_image: (&str, &str),
    images: Images<'_>,
    report: &mut Report,
) -> ProxyPod {
    let block = parent.read(name, report, Field::mapping);
    if let Some(block) = &block {
        block.refuse_unknown(POD_FIELDS, report);
    }
    let block = block.as_ref();
    let image = block.and_then(|block| block.read("image", report, Field::mapping));
    let policy = block.and_then(|block| {
        block.read("imagePullPolicy", report, |field, report| {
            field.choice_or_empty(PULL_POLICIES, report)
        })
    });
    ProxyPod {
        image: read_image(image.as_ref(), default_image, images.repository, report),
        image_pull_policy: policy.unwrap_or(images.pull_policy),
        ports: block.map(|block| read_ports(block, report)).unwrap_or_default(),
    }
}

fn read_builtin(parent: &Mapping<'_>, report: &mut Report) -> BindPorts {
    let Some(block) = parent.read("builtin", report, Field::mapping) else {
        return BindPorts::default();
    };
    block.refuse_unknown(BUILTIN_FIELDS, report);
    read_ports(&block, report)
}

fn read_ports(block: &Mapping<'_>, report: &mut Report) -> BindPorts {
    let defaults = BindPorts::default();
    BindPorts {
        api_server: block
            .read("apiServerBindPort", report, Field::port)
            .unwrap_or(defaults.api_server),
        // Here k0s takes zero for what it is: no port.
        konnectivity_server: block
            .read("konnectivityServerBindPort", report, |field, report| {
                field.integer(1..=u16::MAX, report)
            })
            .unwrap_or(defaults.konnectivity_server),
    }
}

fn read_image(
    block: Option<&Mapping<'_>>,
    (default_image, default_version): (&str, &str),
    repository: Option<&str>,
    report: &mut Report,
) -> Image {
    if let Some(block) = block {
        block.refuse_unknown(IMAGE_FIELDS, report);
    }
    let mut text = |name, check: fn(&Field<'_>, &mut Report) -> Option<String>| {
        block.and_then(|block| block.read(name, report, check))
    };
    let image = text("image", image_name).unwrap_or_else(|| default_image.to_owned());
    let version = text("version", image_version).unwrap_or_else(|| default_version.to_owned());
    Image {
        image: match repository {
            Some(repository) => in_repository(&image, repository),
            None => image,
        },
        version,
    }
}

fn image_name(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.string(report)?;
    if text.trim() != text {
        report.error(
            &field.place,
            format!("image {} begins or ends with a blank", quoted(text)),
            "remove the blank",
        );
        return None;
    }
    (!text.is_empty()).then(|| text.to_owned())
}

fn image_version(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.string(report)?;
    if text.is_empty() {
        return None;
    }
    let (tag, digest) = match text.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (text, None),
    };
    if is_tag(tag) && digest.is_none_or(is_digest) {
        return Some(text.to_owned());
    }
    report.error(
        &field.place,
        format!("version {} is no image tag", quoted(text)),
        "write a tag such as v1.2.3, and behind it a digest if wanted: v1.2.3@sha256:…",
    );
    None
}

/// `[\w][\w.-]{0,127}`, as in the distribution project's reference grammar.
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// `algorithm:hex` of at least 32 digits, the algorithm's parts separated by one of `-_+.`.
fn is_digest(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.split(['-', '_', '+', '.']).all(is_part)
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The image in another repository: its registry, where it names one, is replaced.
fn in_repository(image: &str, repository: &str) -> String {
    match image.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) || registry == "localhost" => {
            format!("{repository}/{rest}")
        }
        _ => format!("{repository}/{image}"),
    }
}
