//! Text to scenario. Every error has its line, its column and a hint.

use std::time::Duration;

use super::{
    Action, Comparison, Expectation, Measure, Phase, Quantity, Scenario, Step, Target, Verb, Which,
};

/// How long a phase goes on after its last action unless it says.
const DEFAULT_REST: Duration = Duration::from_secs(5);
/// Longer is a slip of the pen, and would overflow sums of times.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A statement that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}:{column}: {message}\n  hint: {hint}")]
pub struct ParseError {
    /// The scenario's name or file.
    pub name: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: String,
}

/// Reads a scenario. Statements before the first `phase` belong to a phase called as the scenario.
///
/// # Errors
/// The first statement that is not understood.
pub fn parse(name: &str, text: &str) -> Result<Scenario, ParseError> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        let mut words = Words::of(line);
        reader.statement(&mut words).map_err(|fault| fault.at(name, index + 1))?;
    }
    reader.end_phase();
    if reader.phases.is_empty() {
        let fault =
            words_fault(1, "the scenario does nothing", "write for example: at 1s stop holder");
        return Err(fault.at(name, 1));
    }
    for phase in reader.phases.iter_mut().filter(|phase| phase.name.is_empty()) {
        name.clone_into(&mut phase.name);
    }
    Ok(Scenario { name: name.to_owned(), phases: reader.phases })
}

#[derive(Default)]
struct Reader {
    phases: Vec<Phase>,
    open: Option<Phase>,
    duration: Option<Duration>,
}

impl Reader {
    fn statement(&mut self, words: &mut Words<'_>) -> Result<(), Fault> {
        let Some((column, first)) = words.next() else { return Ok(()) };
        match first {
            "phase" => {
                self.end_phase();
                let name = words.rest();
                if name.is_empty() {
                    return Err(words_fault(column, "the phase has no name", "phase NAME"));
                }
                self.open = Some(Phase { name, ..Phase::default() });
                return Ok(());
            }
            "at" => {
                let at = words.time()?;
                let (column, verb) = words.expect("an action", "at 1s stop holder")?;
                self.step(at, verb_of(column, verb)?, words)?;
            }
            "duration" => self.duration = Some(words.time()?),
            "expect" => {
                let expectation = expectation(words)?;
                self.phase().expectations.push(expectation);
            }
            verb => {
                let verb = verb_of(column, verb)?;
                self.step(Duration::ZERO, verb, words)?;
            }
        }
        words.end()
    }

    fn step(&mut self, at: Duration, verb: Verb, words: &mut Words<'_>) -> Result<(), Fault> {
        let target = target(verb, words)?;
        let steps = &mut self.phase().steps;
        let place = steps.partition_point(|step| step.at <= at);
        steps.insert(place, Step { at, action: Action { verb, target } });
        Ok(())
    }

    fn phase(&mut self) -> &mut Phase {
        self.open.get_or_insert_default()
    }

    fn end_phase(&mut self) {
        let duration = self.duration.take();
        let Some(mut phase) = self.open.take() else { return };
        let last = phase.steps.last().map_or(Duration::ZERO, |step| step.at);
        phase.duration = duration.unwrap_or(last + DEFAULT_REST);
        self.phases.push(phase);
    }
}

fn verb_of(column: usize, word: &str) -> Result<Verb, Fault> {
    lookup(&Verb::ALL, word).ok_or_else(|| {
        let hint = "a line begins with phase, at TIME, duration, expect, or one of start, stop, kill, freeze, thaw, cut, heal";
        words_fault(column, &format!("`{word}` is no action"), hint)
    })
}

fn target(verb: Verb, words: &mut Words<'_>) -> Result<Target, Fault> {
    let example = if verb.is_for_nodes() { "node 1" } else { "controller holder" };
    let (column, word) = words.expect("a target", &format!("{verb} {example}"))?;
    let alone = |which| match verb.is_for_nodes() {
        true => Target::Node(which),
        false => Target::Controller(which),
    };
    let target = match word {
        "all" => return Ok(Target::All),
        "holder" => alone(Which::Holder),
        "standby" => alone(Which::Standby),
        "controller" => Target::Controller(words.which("controller")?),
        "apiserver" => {
            words.skip("of");
            Target::Apiserver(words.which("apiserver")?)
        }
        "node" => Target::Node(words.which("node")?),
        _ => {
            let hint =
                "controller N, apiserver N, apiserver of holder, node N, holder, standby or all";
            return Err(words_fault(column, &format!("`{word}` is no target"), hint));
        }
    };
    if verb.is_for_nodes() != matches!(target, Target::Node(_)) {
        let hint = "cut and heal take a node, the other actions a controller or an apiserver";
        return Err(words_fault(column, &format!("`{verb}` cannot be done to {target}"), hint));
    }
    Ok(target)
}

fn expectation(words: &mut Words<'_>) -> Result<Expectation, Fault> {
    let measure = words.measure()?;
    let (column, sign) = words.expect("a comparison", "expect silence <= 50ms")?;
    let comparison = lookup(&Comparison::ALL, sign).ok_or_else(|| {
        words_fault(column, &format!("`{sign}` is no comparison"), "one of <=, =, >=")
    })?;
    let bound = if measure.is_time() {
        Quantity::Time(words.time()?)
    } else {
        Quantity::Count(words.count()?)
    };
    let after = if words.skip("after") { Some(words.time()?) } else { None };
    Ok(Expectation { measure, after, comparison, bound })
}

fn lookup<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// A line's words with their columns.
struct Words<'line> {
    words: Vec<(usize, &'line str)>,
    next: usize,
    end_column: usize,
}

impl<'line> Words<'line> {
    fn of(line: &'line str) -> Self {
        let code = line.split_once('#').map_or(line, |(code, _)| code);
        let words = code
            .split_whitespace()
            .map(|word| {
                let offset = word.as_ptr() as usize - code.as_ptr() as usize;
                (code[..offset].chars().count() + 1, word)
            })
            .collect();
        Self { words, next: 0, end_column: code.trim_end().chars().count() + 1 }
    }

    fn next(&mut self) -> Option<(usize, &'line str)> {
        let word = self.words.get(self.next).copied()?;
        self.next += 1;
        Some(word)
    }

    fn expect(&mut self, what: &str, example: &str) -> Result<(usize, &'line str), Fault> {
        let end_column = self.end_column;
        self.next().ok_or_else(|| {
            words_fault(
                end_column,
                &format!("{what} is missing"),
                &format!("for example: {example}"),
            )
        })
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.words.get(self.next).is_some_and(|(_, next)| *next == word);
        self.next += usize::from(found);
        found
    }

    fn rest(&mut self) -> String {
        let rest: Vec<&str> = self.words[self.next..].iter().map(|(_, word)| *word).collect();
        self.next = self.words.len();
        rest.join(" ")
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => Ok(()),
            Some((column, word)) => {
                let hint = "one statement per line; a comment begins with #";
                Err(words_fault(column, &format!("`{word}` is too much"), hint))
            }
        }
    }

    fn measure(&mut self) -> Result<Measure, Fault> {
        let (column, first) = self.expect("a figure", "expect silence <= 50ms")?;
        if let Some((_, second)) = self.words.get(self.next)
            && let Some(measure) = lookup(&Measure::ALL, &format!("{first} {second}"))
        {
            self.next += 1;
            return Ok(measure);
        }
        lookup(&Measure::ALL, first).ok_or_else(|| {
            let names: Vec<&str> = Measure::ALL.iter().map(|(name, _)| *name).collect();
            words_fault(
                column,
                &format!("`{first}` is no figure"),
                &format!("one of {}", names.join(", ")),
            )
        })
    }

    fn which(&mut self, of: &str) -> Result<Which, Fault> {
        let (column, word) = self.expect("which one", &format!("{of} 1"))?;
        match word {
            "holder" => return Ok(Which::Holder),
            "standby" => return Ok(Which::Standby),
            _ => {}
        }
        match word.parse() {
            Ok(number) if number > 0 => Ok(Which::Number(number)),
            _ => {
                let hint = "a number from 1, holder or standby";
                Err(words_fault(column, &format!("`{word}` is no {of}"), hint))
            }
        }
    }

    fn count(&mut self) -> Result<u64, Fault> {
        let (column, word) = self.expect("a number", "expect failures = 0")?;
        word.parse().map_err(|_| {
            words_fault(column, &format!("`{word}` is no number"), "this figure is a whole number")
        })
    }

    fn time(&mut self) -> Result<Duration, Fault> {
        let (column, word) = self.expect("a time", "1.5s")?;
        time(word).ok_or_else(|| {
            let hint = "a number and a unit, such as 50ms, 3.3s or 2m, at most a day";
            words_fault(column, &format!("`{word}` is no time"), hint)
        })
    }
}

fn time(word: &str) -> Option<Duration> {
    let unit_at = word.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = word.split_at(unit_at);
    let factor = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * factor;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST)
}

/// An error that does not know its file and line yet.
struct Fault {
    column: usize,
    message: String,
    hint: String,
}

impl Fault {
    fn at(self, name: &str, line: usize) -> ParseError {
        let Self { column, message, hint } = self;
        ParseError { name: name.to_owned(), line, column, message, hint }
    }
}

fn words_fault(column: usize, message: &str, hint: &str) -> Fault {
    Fault { column, message: message.to_owned(), hint: hint.to_owned() }
}
