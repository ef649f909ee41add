use crate::cli::{KeepalivedConfig, KeepalivedTemplate};

/// Prints a built-in template, to begin a custom one with.
pub(crate) fn print(arguments: &KeepalivedConfig) {
    let template = match arguments.template {
        KeepalivedTemplate::Vrrp => keepalived::VRRP_TEMPLATE,
        KeepalivedTemplate::Virtualservers => keepalived::VIRTUAL_SERVERS_TEMPLATE,
    };
    print!("{template}");
}
