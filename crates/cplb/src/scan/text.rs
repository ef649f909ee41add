use std::fmt;

use super::{Advertisement, Row, Scan};

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces = match self.interfaces.as_slice() {
            [] => "no interface: none is up".to_owned(),
            names => names.join(", "),
        };
        writeln!(f, "Listened for {} s on {interfaces}", self.listened_ms / 1_000)?;
        if self.speakers.is_empty() {
            writeln!(f, "Nobody was heard. What this host itself says does not come back to it.")?;
        } else {
            self.write_table(f)?;
        }
        for reason in &self.not_heard {
            writeln!(f, "not heard: {reason}")?;
        }
        let free: Vec<String> =
            self.free_virtual_router_ids.iter().map(ToString::to_string).collect();
        writeln!(f, "free virtual router identifiers, for example: {}", free.join(", "))
    }
}

impl Scan {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<4} {:<10} {:<26} {:<7} {:>8} {:>9} {:>9} {:<8} {:<5} ADDRESSES",
            "VRID",
            "INTERFACE",
            "SOURCE",
            "VERSION",
            "PRIORITY",
            "ANNOUNCED",
            "MEASURED",
            "AUTH",
            "OURS",
        )?;
        for row in &self.speakers {
            row.write(f)?;
        }
        writeln!(f)
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "?".to_owned();
        let said = self.advertisement.as_ref();
        let ours = self.ours.map_or("?", |ours| if ours { "yes" } else { "no" });
        let duration = |milliseconds: u64| format!("{:.2} s", milliseconds as f64 / 1_000.0);
        writeln!(
            f,
            "{:<4} {:<10} {:<26} {:<7} {:>8} {:>9} {:>9} {:<8} {ours:<5} {}",
            self.virtual_router_id,
            self.interface,
            self.source.to_string(),
            said.map_or_else(unknown, |said| said.version.to_string()),
            said.map_or_else(unknown, |said| said.priority.to_string()),
            said.map_or_else(unknown, |said| duration(said.interval_announced_ms)),
            self.interval_measured_ms.map_or_else(|| "-".to_owned(), duration),
            said.map_or("?", |said| said.authentication),
            said.map_or_else(String::new, Advertisement::places),
        )?;
        if let Some(fault) = &self.fault {
            writeln!(f, "     {fault}")?;
        }
        Ok(())
    }
}

impl Advertisement {
    fn places(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match self.checksum {
            Some(form) => format!("{} (checksum: {form})", addresses.join(", ")),
            None => addresses.join(", "),
        }
    }
}
