//! Go templates, behind one function.

use std::fmt;

use gotmpl::{MissingKey, Template, TemplateError, Value};

use crate::Error;
use crate::quote::quote;

/// Fills the template in. A name that does not exist is an error, not an empty text.
///
/// Beside Go's functions there is `quote`, which makes a word of keepalived.conf(5).
pub(crate) fn render(name: &str, source: &str, data: &Value) -> Result<String, Error> {
    let template = parse(source).map_err(|error| at(name, position_of(&error), &error))?;
    check_ends(name, source)?;
    template.execute_to_string(data).map_err(|error| at(name, failing_action(source, data), &error))
}

fn parse(source: &str) -> Result<Template, TemplateError> {
    Template::new("")
        .missing_key(MissingKey::Error)
        .func("quote", |arguments| match arguments {
            [Value::String(word)] => Ok(Value::String(quote(word).into())),
            _ => Err(TemplateError::Exec("quote takes one string".into())),
        })
        .parse(source)
}

fn at(name: &str, position: Option<(usize, usize)>, error: &TemplateError) -> Error {
    let message = match error {
        TemplateError::Parse { message, .. } | TemplateError::Lex { message, .. } => {
            message.clone()
        }
        TemplateError::MissingKey { key } => format!("there is no variable .{key}"),
        error => error.to_string(),
    };
    Error::Template { name: name.to_owned(), position, message }
}

/// Go refuses a block without an end and an end without a block; gotmpl 0.6.1 takes the end of the
/// text for the one, and leaves out what follows the other.
fn check_ends(name: &str, source: &str) -> Result<(), Error> {
    let wrong = |action: &Action<'_>, without: &str| {
        let message = format!("{{{{ {} }}}} without {without}", action.keyword);
        Err(Error::Template { name: name.to_owned(), position: Some(action.position), message })
    };
    let mut open = Vec::new();
    for action in actions(source) {
        match action.keyword {
            "if" | "range" | "with" | "block" | "define" => open.push(action),
            "end" | "else" if open.is_empty() => return wrong(&action, "a block"),
            "end" => drop(open.pop()),
            _ => {}
        }
    }
    open.pop().map_or(Ok(()), |action| wrong(&action, "{{ end }}"))
}

/// Something between double braces.
struct Action<'a> {
    /// The first word of it.
    keyword: &'a str,
    /// Line and column, both from 1.
    position: (usize, usize),
    /// Where it begins in the text, in bytes.
    start: usize,
}

/// The actions of a template without syntax errors.
fn actions(source: &str) -> Vec<Action<'_>> {
    let mut actions = Vec::new();
    let mut from = 0;
    while let Some(offset) = source[from..].find("{{") {
        let start = from + offset;
        let inside = source[start + 2..].strip_prefix("- ").unwrap_or(&source[start + 2..]);
        let trimmed = inside.trim_start();
        let word = trimmed.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = source[..start].matches('\n').count() + 1;
        let column = source[line_start..start].chars().count() + 1;
        actions.push(Action { keyword: &trimmed[..word], position: (line, column), start });
        from = source.len() - trimmed.len() + length(trimmed);
    }
    actions
}

/// How many bytes it is to the end of the action, past strings and comments.
fn length(action: &str) -> usize {
    if action.starts_with("/*") {
        return action.find("*/").map_or(action.len(), |at| at + 2);
    }
    let mut characters = action.char_indices();
    let mut quote = None;
    while let Some((at, character)) = characters.next() {
        match quote {
            None if action[at..].starts_with("}}") => return at,
            None if matches!(character, '"' | '`' | '\'') => quote = Some(character),
            Some('"' | '\'') if character == '\\' => drop(characters.next()),
            Some(open) if character == open => quote = None,
            _ => {}
        }
    }
    action.len()
}

/// Errors of syntax carry their place.
fn position_of(error: &TemplateError) -> Option<(usize, usize)> {
    match error {
        TemplateError::Parse { line, col, .. } | TemplateError::Lex { line, col, .. } => {
            Some((*line, *col))
        }
        _ => None,
    }
}

/// Errors while it runs carry none: so it runs again, with every action announced in the output by
/// its place; the last one announced is the one that failed.
fn failing_action(source: &str, data: &Value) -> Option<(usize, usize)> {
    let mut announced = String::with_capacity(source.len() * 2);
    let mut from = 0;
    for Action { position: (line, column), start, .. } in actions(source) {
        announced += &source[from..start];
        announced += &format!("{MARK}{line}:{column}{MARK}");
        from = start;
    }
    announced += &source[from..];
    let mut output = Partial::default();
    parse(&announced).ok()?.execute_fmt(&mut output, data).err()?;
    let (line, column) = output.0.rsplit(MARK).nth(1)?.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// Nothing that a configuration contains.
const MARK: char = '\u{1}';

/// What was written before it failed.
#[derive(Default)]
struct Partial(String);

impl fmt::Write for Partial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
