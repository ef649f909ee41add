//! Keeps secrets out of what is shown of a document: rather too much is masked than too little.

use std::iter;
use std::ops::Range;

use crate::node::{self, Node, Value};

/// A text of which no secret can be read.
pub(crate) struct Masked<'a> {
    lines: Vec<Line<'a>>,
    fields: SecretFields,
}

struct Line<'a> {
    text: &'a str,
    /// Of its first byte in the whole text.
    start: usize,
    /// The byte of the line from which on all of it is hidden.
    hidden_from: usize,
}

/// Where a text that is YAML has secrets, in bytes.
#[derive(Default)]
struct SecretFields {
    keys: Vec<Range<usize>>,
    /// The values, wherever they stand: below their key, in a block, at an anchor.
    values: Vec<Range<usize>>,
}

impl<'a> Masked<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        let documents = node::parse(source);
        let mut fields = SecretFields::default();
        for root in documents.iter().flatten() {
            fields.collect(root, false);
        }
        Self { lines: lines(source, &fields.keys, documents.is_ok()), fields }
    }

    /// The line of this number, from 1, without its end; absent beyond the text.
    pub(crate) fn line(&self, number: usize) -> Option<String> {
        let line = self.lines.get(number.checked_sub(1)?)?;
        let is_hidden = |offset: usize| {
            let at = line.start + offset;
            offset >= line.hidden_from || contains(&self.fields.values, at)
        };
        let mask = |(offset, c): (usize, char)| {
            if is_hidden(offset) && !c.is_whitespace() && c != ':' { '*' } else { c }
        };
        Some(line.text.char_indices().map(mask).collect())
    }
}

impl SecretFields {
    fn collect(&mut self, node: &Node, secret: bool) {
        match &node.value {
            Value::Sequence(items) => items.iter().for_each(|item| self.collect(item, secret)),
            Value::Mapping(entries) => {
                for entry in entries {
                    let name = entry.name().unwrap_or_default();
                    let word = secret_word(name);
                    if word.as_ref().is_some_and(|word| word.end == name.len()) {
                        self.keys.push(entry.key.span.clone());
                    }
                    self.collect(&entry.value, secret || word.is_some());
                }
            }
            _ if secret => self.values.push(node.span.clone()),
            _ => {}
        }
    }
}

fn contains(ranges: &[Range<usize>], at: usize) -> bool {
    ranges.iter().any(|range| range.contains(&at))
}

/// What the looks of the lines tell. Behind a secret word that is none of the known `keys`, as in a
/// comment or a misquoted text, the rest of the line is hidden, and where the text could not be
/// `parsed` all that is indented deeper.
fn lines<'a>(source: &'a str, keys: &[Range<usize>], parsed: bool) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut secret_indent = None;
    for text in source.split_inclusive('\n') {
        let is_blank = text.trim().is_empty();
        let indent = text.len() - text.trim_start().len();
        if secret_indent.is_some_and(|secret| indent <= secret) && !is_blank {
            secret_indent = None;
        }
        let word_end = secret_words(text)
            .find(|word| !contains(keys, start + word.start))
            .map(|word| word.end);
        let hidden_from = if secret_indent.is_some() { Some(indent) } else { word_end };
        if !parsed && secret_indent.is_none() && word_end.is_some() {
            secret_indent = Some(indent);
        }
        lines.push(Line {
            text: text.trim_end_matches(['\r', '\n']),
            start,
            hidden_from: hidden_from.unwrap_or(text.len()),
        });
        start += text.len();
    }
    lines
}

/// A value of the document in quotes, for a message: cut off where it is long or names a secret, as
/// a misplaced quote makes any part of a document a value.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let end = secret_word(text).map_or(text.len(), |word| word.end);
    let shown: String = text[..end].chars().take(LONGEST).collect();
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{ellipsis}")
}

/// The first word in the text that names a secret, perhaps misspelt: `authPass`, `password`, `token`.
fn secret_word(text: &str) -> Option<Range<usize>> {
    secret_words(text).next()
}

fn secret_words(text: &str) -> impl Iterator<Item = Range<usize>> {
    const MARKS: [&str; 4] = ["auth", "pass", "secret", "token"];
    let lower = text.to_ascii_lowercase();
    let mut searched = 0;
    iter::from_fn(move || {
        let rest = &lower[searched..];
        let start = searched + MARKS.iter().filter_map(|mark| rest.find(mark)).min()?;
        let is_end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-');
        let end = lower[start..].find(is_end).map_or(lower.len(), |length| start + length);
        searched = end;
        Some(start..end)
    })
}
