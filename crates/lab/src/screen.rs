//! The live view in the terminal, and the keys that inject faults.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};

use crate::Error;
use crate::scenario::{Action, Quantity, Target, Verb, Which};
use crate::session::{Part, Session};
use crate::world::State as ProcessState;

mod view;

use view::{NodeView, View};

/// Between two paintings: seldom enough not to disturb what is measured.
const PAINT_INTERVAL: Duration = Duration::from_millis(200);
/// The span that the rate is an average of.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// Events shown at most.
const EVENTS: usize = 40;

/// What a key has ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Do(Action),
    Quit,
}

/// The terminal, taken over until dropped.
pub(crate) struct Screen {
    keys: Keys,
    painted: Option<Instant>,
}

/// What the keys act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keys {
    /// The selected node, from 0.
    selected: usize,
    part: Part,
}

impl Screen {
    pub(crate) fn open() -> Result<Self, Error> {
        restore_on_panic();
        terminal::enable_raw_mode().map_err(refused)?;
        let screen = Self { keys: Keys { selected: 0, part: Part::Controller }, painted: None };
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).map_err(refused)?;
        Ok(screen)
    }

    /// Paints when it is time, and waits at most `tick` for a key.
    pub(crate) fn refresh(
        &mut self,
        session: &mut Session,
        phase: Option<&str>,
        tick: Duration,
    ) -> Result<Option<Order>, Error> {
        if self.painted.is_none_or(|painted| painted.elapsed() >= PAINT_INTERVAL) {
            self.painted = Some(Instant::now());
            self.paint(session, phase).map_err(refused)?;
        }
        if !event::poll(tick).map_err(refused)? {
            return Ok(None);
        }
        match event::read().map_err(refused)? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                self.painted = None;
                Ok(self.keys.press(key, session.world.nodes().len(), &|node| session.is_cut(node)))
            }
            Event::Resize(..) => {
                self.painted = None;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn paint(&self, session: &mut Session, phase: Option<&str>) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let view = view_of(session, phase, self.keys);
        let mut stdout = io::stdout().lock();
        for (row, line) in (0..height).zip(view::render(&view, width.into())) {
            queue!(stdout, cursor::MoveTo(0, row), Clear(ClearType::CurrentLine))?;
            stdout.write_all(line.as_bytes())?;
        }
        queue!(stdout, Clear(ClearType::FromCursorDown))?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

impl Keys {
    fn press(
        &mut self,
        key: KeyEvent,
        nodes: usize,
        is_cut: &dyn Fn(usize) -> bool,
    ) -> Option<Order> {
        let KeyCode::Char(character) = key.code else { return None };
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (character == 'c').then_some(Order::Quit);
        }
        let verb = match character {
            'q' => return Some(Order::Quit),
            'a' => {
                self.part = match self.part {
                    Part::Controller => Part::Apiserver,
                    Part::Apiserver => Part::Controller,
                };
                return None;
            }
            '1'..='9' => {
                let number = usize::from(character as u8 - b'1');
                self.selected = if number < nodes { number } else { self.selected };
                return None;
            }
            'k' => Verb::Kill,
            'f' => Verb::Freeze,
            't' => Verb::Thaw,
            's' => Verb::Stop,
            'r' => Verb::Start,
            'c' if !is_cut(self.selected) => Verb::Cut,
            'c' | 'h' => Verb::Heal,
            _ => return None,
        };
        let which = Which::Number(self.selected + 1);
        let target = match self.part {
            _ if verb.is_for_nodes() => Target::Node(which),
            Part::Controller => Target::Controller(which),
            Part::Apiserver => Target::Apiserver(which),
        };
        Some(Order::Do(Action { verb, target }))
    }
}

fn view_of(session: &mut Session, phase: Option<&str>, keys: Keys) -> View {
    let now = session.now();
    let recent = session.figures(&(now.saturating_sub(RATE_WINDOW)..now));
    let whole = session.figures(&session.measured());
    let holders = session.holders();
    let nodes = (0..session.world.nodes().len())
        .map(|node| {
            let name = session.name(node);
            let role = session.role(node);
            NodeView {
                holds: holders.contains(&node),
                address: session.world.node(node).host().address().to_string(),
                controller: shown(Part::Controller.of(&mut session.world, node).state()),
                role: role.as_ref().map_or("-".to_owned(), |role| role.state.clone()),
                reason: role.map_or_else(String::new, |role| role.reason),
                apiserver: shown(Part::Apiserver.of(&mut session.world, node).state()),
                answers: recent.replicas.get(&name).copied().unwrap_or(0),
                cut: session.is_cut(node),
                name,
            }
        })
        .collect();
    let events = session.timeline();
    let events = &events[events.len().saturating_sub(EVENTS)..];
    View {
        elapsed: now,
        phase: phase.map(str::to_owned),
        virtual_address: session.virtual_address.to_string(),
        nodes,
        selected: keys.selected,
        aims_at_apiservers: keys.part == Part::Apiserver,
        rate: recent.answered as f64 / RATE_WINDOW.as_secs_f64(),
        failed: whole.failed(),
        failure: whole.failures.into_keys().next(),
        silence: Quantity::Time(whole.longest_silence).to_string(),
        events: events.iter().rev().map(ToString::to_string).collect(),
    }
}

fn shown(state: ProcessState) -> &'static str {
    match state {
        ProcessState::Off => "off",
        ProcessState::Running => "running",
        ProcessState::Leaving => "leaving",
        ProcessState::Frozen => "frozen",
        ProcessState::Ended { .. } => "ended",
    }
}

fn restore_on_panic() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
    });
}

fn restore() {
    // The terminal may be gone; there is nobody to tell then.
    let _restored = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    let _restored = terminal::disable_raw_mode();
}

fn refused(source: io::Error) -> Error {
    Error::System { what: "the terminal", source }
}

#[cfg(test)]
mod tests;
