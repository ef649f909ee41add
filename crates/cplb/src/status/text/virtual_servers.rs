use std::fmt;

use super::Ink;
use crate::status::{RealServer, VirtualServer};

/// The services of IPVS: on the holder with what they do, elsewhere with what would be left out.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    servers: &[VirtualServer],
    ink: Ink,
) -> fmt::Result {
    writeln!(f, "{}Load balancer{} by IPVS, where the virtual IP is", ink.strong, ink.reset)?;
    for server in servers {
        write!(f, "  {} {} {}", server.address, server.scheduler, server.forwarding)?;
        if let Some(seconds) = server.persistence_seconds {
            write!(f, ", persistent for {seconds} s")?;
        }
        match server.here {
            true => writeln!(f)?,
            false => writeln!(f, "; this node is not the holder")?,
        }
        let shown = |it: &&RealServer| server.here || it.left_out.is_some();
        let mut shown = server.real_servers.iter().filter(shown).peekable();
        if server.here && shown.peek().is_some() {
            let [server, weight, active, inactive] =
                ["REAL SERVER", "WEIGHT", "ACTIVE", "INACTIVE"];
            writeln!(f, "    {server:<24} {weight:>6} {active:>8} {inactive:>8}")?;
        }
        for real_server in shown {
            write_real_server(f, real_server, server.here, ink)?;
        }
    }
    Ok(())
}

fn write_real_server(
    f: &mut fmt::Formatter<'_>,
    server: &RealServer,
    with_numbers: bool,
    ink: Ink,
) -> fmt::Result {
    write!(f, "    {:<24}", server.address.to_string())?;
    if with_numbers {
        let number = |of: Option<u32>| of.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let weight = number(server.in_kernel.map(|it| it.weight));
        let active = number(server.in_kernel.map(|it| it.active));
        let inactive = number(server.in_kernel.map(|it| it.inactive));
        write!(f, " {weight:>6} {active:>8} {inactive:>8}")?;
    }
    if server.reason.is_empty() {
        return writeln!(f);
    }
    let before = if with_numbers { "  " } else { " left out: " };
    writeln!(f, "{before}{}{}{}", ink.warning, server.reason, ink.reset)
}
