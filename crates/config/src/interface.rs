//! The `interface` of a VRRP instance: a name or a hardware address.

use crate::reader::Field;
use crate::report::Report;
use crate::secrets::quoted;
use crate::settings::Interface;

/// Reads the field; an empty one stands for the default route's interface, as in k0s.
pub(crate) fn read(field: &Field<'_>, report: &mut Report) -> Option<Interface> {
    let text = field.string(report)?;
    if text.is_empty() {
        return Some(Interface::DefaultRoute);
    }
    if let Some(address) = hardware_address(text) {
        return Some(Interface::Mac(address));
    }
    if is_interface_name(text) {
        return Some(Interface::Name(text.to_owned()));
    }
    let message =
        format!("interface {} is neither an interface name nor a MAC address", quoted(text));
    report.error(
        &field.place,
        message,
        "a name has at most 15 bytes without blanks, ':' and '/'; a MAC address 12 hex digits",
    );
    None
}

/// A 48-bit address in any of the spellings of Go's `net.ParseMAC`: `52:54:00:ab:cd:ef`,
/// `52-54-00-AB-CD-EF`, `5254.00ab.cdef`.
fn hardware_address(text: &str) -> Option<[u8; 6]> {
    let (separator, group_length) = match text.as_bytes().get(2)? {
        b':' => (':', 2),
        b'-' => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let digits = groups.concat();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits.len() != 12 || !is_hex || groups.iter().any(|group| group.len() != group_length) {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let [_, _, address @ ..] = number.to_be_bytes();
    Some(address)
}

/// What the kernel takes for a name: `dev_valid_name` in net/core/dev.c.
fn is_interface_name(text: &str) -> bool {
    text.len() <= 15
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
}
