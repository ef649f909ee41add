use std::io::{self, IsTerminal};
use std::path::Path;

use config::{Loaded, Settings, Severity};

use crate::error::Error;

/// Reads the configuration for a daemon: findings go to standard error, without the source lines,
/// which may hold a password.
pub(crate) fn load(path: &Path) -> Result<Settings, Error> {
    let (_, loaded) = read(path)?;
    for finding in &loaded.findings {
        match finding.severity {
            Severity::Error => eprintln!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
    let findings = loaded.findings;
    loaded.settings.ok_or_else(|| Error::Invalid { path: path.to_owned(), findings })
}

/// Reads the configuration and shows the findings with their source lines, passwords masked.
pub(crate) fn validate(path: &Path) -> Result<Loaded, Error> {
    let (text, loaded) = read(path)?;
    eprint!("{}", config::render(&loaded.findings, &text, io::stderr().is_terminal()));
    Ok(loaded)
}

fn read(path: &Path) -> Result<(String, Loaded), Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let loaded = config::load(&path.display().to_string(), &text);
    Ok((text, loaded))
}
