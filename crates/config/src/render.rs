//! Findings for people: each with the line it is about, secrets masked.

use std::fmt::Write;

use crate::secrets::Masked;
use crate::{Finding, Position, Severity};

/// Columns of the source line shown around a finding.
const WIDTH: usize = 100;

/// Shows findings one after another, each as `file:line:column: error: message`, the source line
/// with a caret and the hint, in colours where `ansi`. `source` is the text they were found in;
/// secrets in it are masked.
#[must_use]
pub fn render(findings: &[Finding], source: &str, ansi: bool) -> String {
    let style = if ansi { Style::COLOURED } else { Style::PLAIN };
    let masked = Masked::new(source);
    let mut out = String::new();
    for finding in findings {
        out.push_str(&heading(finding, &style));
        if let Some(line) = masked.line(finding.position.line) {
            out.push_str(&snippet(&line, finding.position, &style));
        }
        if let Some(hint) = &finding.hint {
            let Style { hint: colour, reset, .. } = style;
            push_line(&mut out, format_args!("  {colour}hint{reset}: {hint}"));
        }
    }
    out
}

struct Style {
    bold: &'static str,
    error: &'static str,
    warning: &'static str,
    hint: &'static str,
    gutter: &'static str,
    reset: &'static str,
}

impl Style {
    const PLAIN: Self = Self { bold: "", error: "", warning: "", hint: "", gutter: "", reset: "" };
    const COLOURED: Self = Self {
        bold: "\x1b[1m",
        error: "\x1b[1;31m",
        warning: "\x1b[1;33m",
        hint: "\x1b[1;36m",
        gutter: "\x1b[34m",
        reset: "\x1b[0m",
    };
}

fn heading(finding: &Finding, style: &Style) -> String {
    let Style { bold, reset, .. } = style;
    let colour = match finding.severity {
        Severity::Error => style.error,
        Severity::Warning => style.warning,
    };
    let Finding { file, position, severity, message, .. } = finding;
    format!("{bold}{file}:{position}{reset}: {colour}{severity}{reset}: {bold}{message}{reset}\n")
}

fn snippet(line: &str, position: Position, style: &Style) -> String {
    let Style { gutter, error, reset, .. } = style;
    let before = position.column - 1;
    // Of a long line, the part around the finding.
    let skipped = if before < WIDTH { 0 } else { before - WIDTH / 2 };
    let shown: String = line.chars().skip(skipped).take(WIDTH).map(printable).collect();
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(before - skipped);
    let mut out = String::new();
    push_line(&mut out, format_args!("  {gutter}{number} |{reset} {}", shown.trim_end()));
    push_line(&mut out, format_args!("  {gutter}{margin} |{reset} {indent}{error}^{reset}"));
    out
}

/// One column for each character, and nothing that could steer a terminal.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

fn push_line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests;
