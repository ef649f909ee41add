//! `cplb lab`: builds the cluster of a document, shows it, and plays a scenario or takes orders from the keyboard.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use kernel::address::VirtualAddress;
use kernel::netns;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::report::Verdict;
use crate::scenario::{self, BUILT_IN, Scenario};
use crate::screen::{Order, Screen};
use crate::session::{Play, Session, Step};
use crate::world::{Plan, VrrpEngine, World};

/// The document of a lab without one: the k0sctl example, virtual IP 10.0.0.100/24.
const EXAMPLE: &str = include_str!("../../../examples/k0sctl-cplb.yaml");
const NODES: usize = 3;
/// How often things are looked at; actions are late by at most this.
const TICK: Duration = Duration::from_millis(5);

/// What a lab is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `cplb` program, which runs as controllers and apiservers.
    pub binary: PathBuf,
    /// The cluster's document; `None` takes the k0sctl example.
    pub config: Option<PathBuf>,
    /// Who speaks VRRP on the controllers.
    pub vrrp: VrrpEngine,
    /// A scenario to play: the name of a built-in one or a file.
    pub scenario: Option<String>,
    /// Play a scenario (`failover` unless named) without a screen, and end.
    pub batch: bool,
    /// End after this time.
    pub duration: Option<Duration>,
    /// From one request of the client to the next.
    pub request_interval: Duration,
    /// For people or for programs.
    pub output: Output,
}

/// How the outcome is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The timeline as it happens, the verdict at the end.
    Text,
    /// One JSON document at the end.
    Json,
}

/// Runs a lab to its end and prints the outcome on standard output: call it before any thread is started, since an
/// ordinary user's lab needs a user namespace of its own. [`Verdict::exit_code`] is what the process should end with.
///
/// # Errors
/// When the document or the scenario is faulty, the lab cannot be built, or the cluster does not become steady.
pub fn run(options: Options) -> Result<Verdict, Error> {
    let scenario = scenario(&options)?;
    let plan = plan(&options)?;
    netns::isolate()?;
    let interrupt = Interrupt::catch()?;
    let world = World::build(plan)?;
    let client = world.client_options(options.request_interval);
    let name = scenario.as_ref().map(|scenario| scenario.name.clone());
    let session = Session::start(world, client, name)?;

    let live = options.output == Output::Text && !options.batch && io::stdout().is_terminal();
    let show = match options.output {
        Output::Text if live => Show::Screen(Box::new(Screen::open()?)),
        Output::Text => Show::Lines { printed: 0 },
        Output::Json => Show::Nothing,
    };
    let verdict = Lab { session, play: scenario.map(Play::new), phase: None, show }
        .run(options.duration, &interrupt)?;
    let text = match options.output {
        Output::Text => format!("\n{}", verdict.summary()),
        Output::Json => verdict.json() + "\n",
    };
    print(&text)?;
    Ok(verdict)
}

/// A session and how it is shown.
struct Lab {
    // Dropped first: the terminal is restored before anything else.
    show: Show,
    play: Option<Play>,
    phase: Option<String>,
    session: Session,
}

enum Show {
    Screen(Box<Screen>),
    Lines { printed: usize },
    Nothing,
}

impl Lab {
    fn run(mut self, duration: Option<Duration>, interrupt: &Interrupt) -> Result<Verdict, Error> {
        loop {
            self.session.take_note();
            let over = self.play()?;
            let ordered = self.show()?;
            let late = duration.is_some_and(|duration| self.session.now() >= duration);
            if over || ordered || late || interrupt.is_asked() {
                // A scenario that is still there was not played to its end.
                return Ok(self.session.verdict(self.play.is_none()));
            }
        }
    }

    /// Plays what is due; whether the scenario is over and the lab with it.
    fn play(&mut self) -> Result<bool, Error> {
        let Some(play) = &mut self.play else { return Ok(false) };
        let step = play.step(&mut self.session)?;
        match step {
            Step::Nothing => {}
            Step::Begun(name) => {
                self.heading(&format!("\n{name}\n"))?;
                self.phase = Some(name);
            }
            Step::Judged(report) => self.heading(&report.findings())?,
            Step::Over => {
                self.play = None;
                self.phase = None;
                // A screen stays until the user has seen enough.
                return Ok(!matches!(self.show, Show::Screen(_)));
            }
        }
        Ok(false)
    }

    fn heading(&mut self, text: &str) -> Result<(), Error> {
        self.show_lines()?;
        match self.show {
            Show::Lines { .. } => print(text),
            Show::Screen(_) | Show::Nothing => Ok(()),
        }
    }

    /// Shows what is new and waits a tick; whether the user wants to end.
    fn show(&mut self) -> Result<bool, Error> {
        let Show::Screen(screen) = &mut self.show else {
            self.show_lines()?;
            std::thread::sleep(TICK);
            return Ok(false);
        };
        match screen.refresh(&mut self.session, self.phase.as_deref(), TICK)? {
            Some(Order::Quit) => Ok(true),
            Some(Order::Do(action)) => {
                self.session.apply(action, "by hand")?;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn show_lines(&mut self) -> Result<(), Error> {
        let Show::Lines { printed } = &mut self.show else { return Ok(()) };
        let timeline = self.session.timeline();
        let mut text = String::new();
        for entry in &timeline[*printed..] {
            text.push_str(&format!("{entry}\n"));
        }
        *printed = timeline.len();
        print(&text)
    }
}

fn scenario(options: &Options) -> Result<Option<Scenario>, Error> {
    let default = options.batch.then(|| BUILT_IN[0].0.to_owned());
    let Some(name) = options.scenario.clone().or(default) else { return Ok(None) };
    if let Some(scenario) = Scenario::built_in(&name) {
        return Ok(Some(scenario?));
    }
    let text = fs::read_to_string(&name).map_err(|source| Error::NoSuchScenario {
        name: name.clone(),
        built_in: BUILT_IN.map(|(name, _)| name).join(" or "),
        source,
    })?;
    Ok(Some(scenario::parse(&name, &text)?))
}

fn plan(options: &Options) -> Result<Plan, Error> {
    let (name, document) = match &options.config {
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|source| Error::NoSuchDocument { path: path.clone(), source })?;
            (path.display().to_string(), text)
        }
        None => ("example".to_owned(), EXAMPLE.to_owned()),
    };
    let loaded = config::load(&name, &document);
    let Some(settings) = loaded.settings else {
        return Err(Error::Config(config::render(&loaded.findings, &document, false)));
    };
    let balancing = settings.control_plane_load_balancing.filter(|balancing| balancing.enabled);
    let instances = balancing.map(|balancing| balancing.vrrp_instances).unwrap_or_default();
    let virtual_addresses: Vec<VirtualAddress> = instances
        .iter()
        .flat_map(|instance| &instance.virtual_ips)
        .map(|cidr| VirtualAddress { address: cidr.address, prefix_length: cidr.prefix_length })
        .collect();
    let mut plan = Plan::new(&options.binary, &document, &virtual_addresses, NODES)?;
    plan.api_port = settings.api.port;
    plan.vrrp = options.vrrp;
    for instance in instances {
        match instance.interface {
            config::Interface::Name(name) => plan.interface = name,
            config::Interface::Mac(_) => return Err(Error::InterfaceByMac),
            config::Interface::DefaultRoute => {}
        }
    }
    Ok(plan)
}

fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|source| Error::file("standard output", source))
}
