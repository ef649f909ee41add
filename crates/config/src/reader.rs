//! Typed access to a document: every reader reports what does not fit and yields nothing then, so
//! that reading goes on and one pass finds every error.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::duration;
use crate::node::{Entry, Node, Value};
use crate::report::{Place, Report};
use crate::secrets::quoted;

/// A mapping of the document.
#[derive(Clone, Debug)]
pub(crate) struct Mapping<'a> {
    entries: &'a [Entry],
    pub(crate) place: Place,
}

/// A value of the document that is not empty.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    node: &'a Node,
    pub(crate) place: Place,
}

impl<'a> Mapping<'a> {
    /// The root of a document, where it is a mapping.
    pub(crate) fn root(node: &'a Node) -> Option<Self> {
        let place = Place { position: node.position, path: String::new() };
        Field { node, place }.peek_mapping()
    }

    /// The keys that are strings, with the place of each.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'a str, Place)> {
        self.entries.iter().filter_map(|entry| {
            let name = entry.name()?;
            Some((name, self.place.field(name, entry.key.position)))
        })
    }

    /// The value of a field; an empty one counts as absent, as in Go.
    pub(crate) fn field(&self, name: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.name() == Some(name))?;
        let node = &entry.value;
        let place = self.place.field(name, node.position);
        (node.value != Value::Null).then_some(Field { node, place })
    }

    /// Reads a field that may be absent by one of the readers of [`Field`].
    pub(crate) fn read<T>(
        &self,
        name: &str,
        report: &mut Report,
        reader: impl FnOnce(&Field<'a>, &mut Report) -> Option<T>,
    ) -> Option<T> {
        reader(&self.field(name)?, report)
    }

    /// The mapping below a field, without a word where it is absent or something else.
    pub(crate) fn peek_mapping(&self, name: &str) -> Option<Self> {
        self.field(name)?.peek_mapping()
    }

    /// The string below a field, without a word where it is absent or something else.
    pub(crate) fn peek_string(&self, name: &str) -> Option<&'a str> {
        self.field(name)?.peek_string()
    }

    /// The place of a field's value; that of its key where it is empty, and that of the mapping where
    /// it is absent.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.name() == Some(name));
        let position = match entry {
            Some(entry) if entry.value.value == Value::Null => entry.key.position,
            Some(entry) => entry.value.position,
            None => self.place.position,
        };
        self.place.field(name, position)
    }

    /// The place of a field's value where the field is given.
    pub(crate) fn place_if_given(&self, name: &str) -> Option<Place> {
        self.field(name).map(|field| field.place)
    }

    /// The place of a field's key; that of the mapping itself where the field is absent.
    pub(crate) fn place_of_key(&self, name: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.name() == Some(name));
        let position = entry.map_or(self.place.position, |entry| entry.key.position);
        self.place.field(name, position)
    }

    /// Refuses every key that is none of `known`.
    pub(crate) fn refuse_unknown(&self, known: &[&str], report: &mut Report) {
        for entry in self.entries {
            let Some(name) = entry.name() else {
                let place = Place { position: entry.key.position, ..self.place.clone() };
                let kind = entry.key.value.kind();
                report.error(
                    &place,
                    format!("a field of {} must be a string, not {kind}", self.place.name()),
                    "put it in quotes",
                );
                continue;
            };
            if known.contains(&name) {
                continue;
            }
            let place = self.place.field(name, entry.key.position);
            let message = format!("unknown field {} in {}", quoted(name), self.place.name());
            let hint = match closest(name, known) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            report.error(&place, message, hint);
        }
    }
}

impl<'a> Field<'a> {
    pub(crate) fn mapping(&self, report: &mut Report) -> Option<Mapping<'a>> {
        let mapping = self.peek_mapping();
        if mapping.is_none() {
            self.refuse_kind("a mapping", "write its fields below it, indented", report);
        }
        mapping
    }

    pub(crate) fn items(&self, report: &mut Report) -> Option<Vec<Self>> {
        let items = self.peek_items();
        if items.is_none() {
            self.refuse_kind(
                "a list",
                "write each item on a line of its own, behind \"- \"",
                report,
            );
        }
        items
    }

    /// The value as a mapping, without a word where it is something else.
    pub(crate) fn peek_mapping(&self) -> Option<Mapping<'a>> {
        match &self.node.value {
            Value::Mapping(entries) => Some(Mapping { entries, place: self.place.clone() }),
            _ => None,
        }
    }

    /// The items of a list, without a word where the value is something else.
    pub(crate) fn peek_items(&self) -> Option<Vec<Self>> {
        let Value::Sequence(nodes) = &self.node.value else { return None };
        let item = |(index, node): (usize, &'a Node)| Field {
            node,
            place: self.place.item(index, node.position),
        };
        Some(nodes.iter().enumerate().map(item).collect())
    }

    /// The value as a string, without a word where it is something else.
    pub(crate) fn peek_string(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn boolean(&self, report: &mut Report) -> Option<bool> {
        let Value::Boolean(value) = self.node.value else {
            self.refuse_kind("true or false", "write true or false, without quotes", report);
            return None;
        };
        Some(value)
    }

    pub(crate) fn string(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.peek_string();
        if text.is_none() {
            self.refuse_kind("a string", "put a single value in quotes", report);
        }
        text
    }

    /// A whole number within `range`.
    pub(crate) fn integer<N>(&self, range: RangeInclusive<N>, report: &mut Report) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display,
    {
        let value = self.any_integer(report)?;
        match N::try_from(value) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.out_of_range(&value, range.start(), range.end(), report);
                None
            }
        }
    }

    /// Like [`Self::integer`], for fields in which 0 stands for the default: the zero value of Go.
    pub(crate) fn integer_or_zero<N>(
        &self,
        range: RangeInclusive<N>,
        report: &mut Report,
    ) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display,
    {
        if self.is_zero() { None } else { self.integer(range, report) }
    }

    /// A TCP port; 0 stands for the default.
    pub(crate) fn port(&self, report: &mut Report) -> Option<u16> {
        self.integer_or_zero(1..=u16::MAX, report)
    }

    /// One of several names.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        let text = self.string(report)?;
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*chosen);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let message =
            format!("{} {} is none of {}", self.place.name(), quoted(text), names.join(", "));
        let hint = match closest(text, &names) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "upper and lower case matter".to_owned(),
        };
        report.error(&self.place, message, hint);
        None
    }

    /// Like [`Self::choice`], for fields in which an empty string stands for the default.
    pub(crate) fn choice_or_empty<T: Copy>(
        &self,
        choices: &[(&str, T)],
        report: &mut Report,
    ) -> Option<T> {
        if self.is_empty_string() { None } else { self.choice(choices, report) }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.node.value == Value::Integer(0)
    }

    pub(crate) fn is_empty_string(&self) -> bool {
        self.peek_string() == Some("")
    }

    pub(crate) fn address(&self, report: &mut Report) -> Option<IpAddr> {
        let text = self.string(report)?;
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("{} {} is no IP address", self.place.name(), quoted(text));
            report.error(&self.place, message, "host names and prefixes do not do here");
        }
        address
    }

    /// A duration as Go writes it, in nanoseconds.
    pub(crate) fn nanoseconds(&self, report: &mut Report) -> Option<i64> {
        const HINT: &str = "write a number with its unit, as in 100ms, 1.5s, 1m30s";
        let Value::String(text) = &self.node.value else {
            self.refuse_kind("a duration", HINT, report);
            return None;
        };
        let nanoseconds = duration::parse(text);
        if nanoseconds.is_none() {
            let message = format!("{} {} is no duration", self.place.name(), quoted(text));
            report.error(&self.place, message, HINT);
        }
        nanoseconds
    }

    /// A duration within `range`.
    pub(crate) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Option<Duration> {
        let nanoseconds = self.nanoseconds(report)?;
        let duration = u64::try_from(nanoseconds).map(Duration::from_nanos);
        match duration {
            Ok(duration) if range.contains(&duration) => Some(duration),
            _ => {
                let value = self.peek_string().unwrap_or_default();
                let (start, end) = (format!("{:?}", range.start()), format!("{:?}", range.end()));
                self.out_of_range(&value, &start, &end, report);
                None
            }
        }
    }

    fn any_integer(&self, report: &mut Report) -> Option<i128> {
        if let Value::Integer(value) = self.node.value {
            return Some(value);
        }
        let quoted = self.peek_string().and_then(|text| text.replace('_', "").parse::<i64>().ok());
        let hint = match quoted {
            Some(number) => format!("write {number}, in plain decimal and without quotes"),
            None => "write digits alone".to_owned(),
        };
        self.refuse_kind("a whole number", &hint, report);
        None
    }

    fn out_of_range(
        &self,
        value: &dyn Display,
        start: &dyn Display,
        end: &dyn Display,
        report: &mut Report,
    ) {
        let name = self.place.name();
        report.error(
            &self.place,
            format!("{name} {value} is out of range: {start} to {end}"),
            "choose a value within, or leave the field out for its default",
        );
    }

    fn refuse_kind(&self, wanted: &str, hint: &str, report: &mut Report) {
        let message =
            format!("{} must be {wanted}, not {}", self.place.name(), self.node.value.kind());
        report.error(&self.place, message, hint);
    }
}

/// The candidate a misspelt word was probably meant to be.
pub(crate) fn closest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    // Far longer than any field: nothing is close to it, and the distance would be costly.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best = candidates.iter().copied().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 1 + best.len() / 5).then_some(best)
}
