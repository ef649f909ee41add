//! `spec.api` and `spec.konnectivity`, as far as load balancing is concerned. The rest of them is
//! k0s' own and passes unread.

use crate::reader::{Field, Mapping};
use crate::report::Report;
use crate::secrets::quoted;
use crate::settings::{Api, Konnectivity};

pub(crate) fn read(block: &Mapping<'_>, report: &mut Report) -> Api {
    let defaults = Api::default();
    Api {
        port: block.read("port", report, Field::port).unwrap_or(defaults.port),
        k0s_api_port: block
            .read("k0sApiPort", report, Field::port)
            .unwrap_or(defaults.k0s_api_port),
        address: block.read("address", report, |field, report| {
            if field.is_empty_string() { None } else { field.address(report) }
        }),
        external_address: block.read("externalAddress", report, external_address),
        sans: block.read("sans", report, sans).unwrap_or_default(),
        only_bind_to_address: block
            .read("onlyBindToAddress", report, Field::boolean)
            .unwrap_or_default(),
    }
}

pub(crate) fn read_konnectivity(block: &Mapping<'_>, report: &mut Report) -> Konnectivity {
    let defaults = Konnectivity::default();
    Konnectivity {
        agent_port: block.read("agentPort", report, Field::port).unwrap_or(defaults.agent_port),
        admin_port: block.read("adminPort", report, Field::port).unwrap_or(defaults.admin_port),
    }
}

fn external_address(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.string(report)?;
    if text.is_empty() {
        return None;
    }
    if text.parse::<std::net::IpAddr>().is_ok() || is_dns_name(text) {
        return Some(text.to_owned());
    }
    let message =
        format!("externalAddress {} is neither an IP address nor a DNS name", quoted(text));
    report.error(&field.place, message, "write it without scheme, port and brackets");
    None
}

fn sans(field: &Field<'_>, report: &mut Report) -> Option<Vec<String>> {
    let items = field.items(report)?;
    Some(items.iter().filter_map(|item| item.string(report).map(str::to_owned)).collect())
}

/// Letters, digits and hyphens in labels of 1 to 63 bytes, 253 in all (RFC 1123 2.1, RFC 1035
/// 2.3.4); underscores, seen in the wild, and a final dot pass as they do in k0s.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // 10.0.0.300 is a mistyped address rather than a name: no top-level domain is all digits.
    let last_is_number = name.rsplit('.').next().is_some_and(|label| label.parse::<u64>().is_ok());
    name.len() <= 253 && !last_is_number && name.split('.').all(is_label)
}
