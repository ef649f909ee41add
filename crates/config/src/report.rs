//! Findings as they are collected, and the places they are about.

use crate::{Finding, Position, Severity};

/// Where something stands: in the text and in the document's structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    /// `spec.network.controlPlaneLoadBalancing`; empty for the root.
    pub(crate) path: String,
}

impl Place {
    /// The last step of the path, by which messages call the field.
    pub(crate) fn name(&self) -> &str {
        match self.path.rsplit_once('.') {
            Some((_, name)) => name,
            None if self.path.is_empty() => "the document",
            None => &self.path,
        }
    }

    /// The place of a field of this mapping, which stands at `position`.
    pub(crate) fn field(&self, name: &str, position: Position) -> Self {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { position, path }
    }

    /// The place of an item of this list, which stands at `position`.
    pub(crate) fn item(&self, index: usize, position: Position) -> Self {
        Self { position, path: format!("{}[{index}]", self.path) }
    }
}

/// Collects findings.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), findings: Vec::new() }
    }

    /// Something without which the document cannot be used, and what to do about it.
    pub(crate) fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Error, place, message.into(), hint.into());
    }

    /// Something that is probably not meant so, and what to do about it.
    pub(crate) fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Warning, place, message.into(), hint.into());
    }

    /// Everything found, in the order of the file.
    pub(crate) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.position);
        self.findings
    }

    fn add(&mut self, severity: Severity, place: &Place, message: String, hint: String) {
        self.findings.push(Finding {
            severity,
            file: self.file.clone(),
            position: place.position,
            path: printable(&place.path),
            message: printable(&message),
            hint: Some(printable(&hint)),
        });
    }
}

/// Keys of a document may hold anything; what is shown stays on its line and steers no terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
