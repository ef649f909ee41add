use std::fmt::Write;

use super::Report;

#[cfg(test)]
mod tests;

/// Everything it needs is in it: no other file, no other host.
const PAGE: &str = include_str!("page.html");

/// Where the page shows the status without JavaScript.
const SNAPSHOT: &str = "<!-- snapshot -->";

/// The status page. With JavaScript it draws and renews itself from `/status`; without, it shows
/// the text of this moment.
pub(crate) fn page(report: &Report) -> String {
    PAGE.replacen(SNAPSHOT, &escape(&report.text(false).to_string()), 1)
}

/// Text as HTML shows it, whatever it says.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
