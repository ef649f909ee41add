//! What the test program is called with, as far as Rust's own harness has it.

/// Which tests are to run.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Whether tests that are ignored by default are wanted: all of these are.
    pub(crate) ignored: bool,
    /// How many run at once.
    pub(crate) threads: usize,
    names: Vec<String>,
    skipped: Vec<String>,
}

impl Arguments {
    /// Options that mean nothing here, such as `--nocapture`, are passed over.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self { threads: 1, ..Self::default() };
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            let mut value = || value.clone().or_else(|| words.next());
            match option.as_str() {
                "--ignored" | "--include-ignored" => arguments.ignored = true,
                "--test-threads" => {
                    let threads = value().and_then(|value| value.parse().ok());
                    arguments.threads = threads.expect("--test-threads takes a number");
                }
                "--skip" => arguments.skipped.extend(value()),
                option if option.starts_with('-') => {}
                name => arguments.names.push(name.to_owned()),
            }
        }
        arguments
    }

    pub(crate) fn selects(&self, name: &str) -> bool {
        let named = |parts: &[String]| parts.iter().any(|part| name.contains(part.as_str()));
        (self.names.is_empty() || named(&self.names)) && !named(&self.skipped)
    }
}
