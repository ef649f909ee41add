//! One entry of `loadBalancer.extraPorts`.

use crate::load_balancer::{HEALTH_CHECK_FIELDS, read_health_check};
use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::secrets::quoted;
use crate::settings::{ExtraPort, HealthCheck, PortCheck};

const FIELDS: &[&str] = &["port", "listenPort", "healthCheck"];
const CHECK_FIELDS: &[&str] = &["type", "path", "status"];
/// So much more than the port itself is where the proxy listens.
const DISTANCE: u16 = 10_000;
const OK: u16 = 200;

/// Where the fields stand that other parts of the document have to agree with.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) port: Place,
    /// That of the port where the listen port follows from it.
    pub(crate) listen_port: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Tls,
    Https,
}

const KINDS: &[(&str, Kind)] = &[("tcp", Kind::Tcp), ("tls", Kind::Tls), ("https", Kind::Https)];

/// Reads an extra port; absent without a port to listen on.
pub(crate) fn read(
    item: &Field<'_>,
    defaults: HealthCheck,
    report: &mut Report,
) -> Option<(ExtraPort, Places)> {
    let block = item.mapping(report)?;
    block.refuse_unknown(FIELDS, report);
    let port = |name, report: &mut Report| {
        block.read(name, report, |field, report| field.integer(1..=u16::MAX, report))
    };
    let (port, listen_port) = (port("port", report), port("listenPort", report));
    let (check, health_check) = block
        .read("healthCheck", report, |field, report| {
            let block = field.mapping(report)?;
            let known: Vec<_> = CHECK_FIELDS.iter().chain(HEALTH_CHECK_FIELDS).copied().collect();
            block.refuse_unknown(&known, report);
            let check = read_check(&block, report);
            Some((check, read_health_check(&block, defaults, report)))
        })
        .unwrap_or((PortCheck::Tls, defaults));
    if block.field("port").is_none() {
        let message = format!("{} has no port", block.place.name());
        report.error(&block.place, message, "give it the port of the servers, as in port: 9443");
    }
    let port = port?;
    let listen_port = match (listen_port, port.checked_add(DISTANCE)) {
        (Some(listen_port), _) => listen_port,
        // A listen port that is given and wrong was reported already.
        (None, _) if block.field("listenPort").is_some() => return None,
        (None, Some(listen_port)) => listen_port,
        (None, None) => {
            report.error(
                &block.place_of("port"),
                format!("no listenPort for port {port}, and {DISTANCE} more is no port"),
                "give it a listenPort that is free on every controller",
            );
            return None;
        }
    };
    let places = Places {
        port: block.place_of("port"),
        listen_port: block.place_if_given("listenPort").unwrap_or_else(|| block.place_of("port")),
    };
    Some((ExtraPort { port, listen_port, check, health_check }, places))
}

fn read_check(block: &Mapping<'_>, report: &mut Report) -> PortCheck {
    let kind = block.read("type", report, |field, report| field.choice(KINDS, report));
    let kind = kind.unwrap_or(Kind::Tls);
    let path = block.read("path", report, path);
    let status = block.read("status", report, |field, report| field.integer(100..=599, report));
    for name in ["path", "status"] {
        if kind != Kind::Https && block.field(name).is_some() {
            report.error(
                &block.place_of(name),
                format!("{name} of a health check that asks for nothing"),
                format!("set type: https, or remove {name}"),
            );
        }
    }
    match kind {
        Kind::Tcp => PortCheck::Tcp,
        Kind::Tls => PortCheck::Tls,
        Kind::Https => {
            if block.field("path").is_none() {
                report.error(
                    &block.place,
                    "type: https without a path",
                    "say what to ask for, as in path: /healthz",
                );
            }
            PortCheck::Https { path: path.unwrap_or_default(), status: status.unwrap_or(OK) }
        }
    }
}

/// What may stand in a request line (RFC 9112, 3.2.1), short of a full parse.
fn path(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.string(report)?;
    let visible =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}|\\^`#".contains(&byte));
    if text.starts_with('/') && visible {
        return Some(text.to_owned());
    }
    let message = format!("path {} cannot be asked for", quoted(text));
    report.error(
        &field.place,
        message,
        "it begins with a slash; spaces and the like are written as in %20",
    );
    None
}
