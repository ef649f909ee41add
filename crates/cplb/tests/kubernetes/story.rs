//! The cluster with those who watch it, and the timeline that is printed as it happens.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::client::{Client, Figures};
use lab::observer::{Holdings, Observer};
use lab::report::Entry;
use lab::world::{Daemon, State};

use crate::cluster::Cluster;
use crate::status::{self, Status};

/// Three kube-apiservers on a busy machine of two cores need most of it.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(120);
/// The state of a process that has ended as it should.
pub(crate) const LEFT: State = State::Ended { code: Some(0) };
const REQUEST_INTERVAL: Duration = Duration::from_millis(5);
const GLANCE: Duration = Duration::from_millis(20);
/// Nothing may have gone wrong for so long before the next fault.
const STEADY_FOR: Duration = Duration::from_secs(1);

pub(crate) struct Story {
    // Watchers are dropped before what they watch.
    client: Option<Client>,
    observer: Observer,
    pub(crate) cluster: Cluster,
    origin: Instant,
    seen_changes: usize,
    seen_watch_changes: usize,
}

impl Story {
    pub(crate) fn begin(kube_apiserver: &Path) -> Self {
        let origin = Instant::now();
        let cluster = Cluster::start(kube_apiserver);
        let nodes = cluster.world.nodes().iter();
        let namespaces: Vec<_> = nodes.map(|node| &*node.host().namespace).collect();
        let observer = Observer::start(&namespaces, cluster.virtual_ip(), origin).unwrap();
        Self { client: None, observer, cluster, origin, seen_changes: 0, seen_watch_changes: 0 }
    }

    /// Tells one chapter; it begins when the cluster is whole and steady.
    pub(crate) fn chapter(&mut self, title: &str, tell: fn(&mut Self)) {
        self.await_steady();
        self.note("every controller", "uses all apiservers, nothing goes wrong".to_owned());
        println!("\n{title}");
        tell(self);
        self.take_note();
    }

    /// From now on there is a request every few milliseconds, and a watch held open, both through the virtual IP.
    pub(crate) fn begin_requests(&mut self) {
        let world = &self.cluster.world;
        let options = world.client_options(REQUEST_INTERVAL);
        let client = Client::start(&world.client().namespace, options, self.origin).unwrap();
        self.client = Some(client);
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn holdings(&self) -> Holdings {
        self.observer.holdings()
    }

    /// The one node that holds the virtual IP.
    pub(crate) fn holder(&self) -> usize {
        let holders = self.observer.holders();
        assert_eq!(holders.len(), 1, "exactly one node holds the virtual IP");
        holders[0]
    }

    /// A node that does not hold the virtual IP.
    pub(crate) fn standby(&self) -> usize {
        (self.holder() + 1) % self.cluster.world.nodes().len()
    }

    /// Does something to a process of the cluster, and notes when.
    pub(crate) fn act(
        &mut self,
        what: &str,
        process: impl FnOnce(&mut Cluster) -> &mut Daemon,
        action: fn(&mut Daemon) -> Result<(), lab::Error>,
    ) -> Duration {
        let at = self.now();
        let daemon = process(&mut self.cluster);
        action(daemon).unwrap();
        let who = daemon.name().to_owned();
        print_entry(at, who, what.to_owned());
        at
    }

    /// Adds a line to the timeline.
    pub(crate) fn note(&mut self, who: &str, event: String) {
        self.take_note();
        print_entry(self.now(), who.to_owned(), event);
    }

    /// Lets time pass until then.
    pub(crate) fn wait_until(&mut self, time: Duration) {
        while self.now() < time {
            self.take_note();
            std::thread::sleep(GLANCE.min(time.saturating_sub(self.now())));
        }
    }

    /// Waits for something; the time it was there.
    #[track_caller]
    pub(crate) fn await_that(
        &mut self,
        what: &str,
        deadline: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        loop {
            let at = self.now();
            if holds(self) {
                return at;
            }
            self.take_note();
            assert!(at < deadline, "not by {:.3} s: {what}", deadline.as_secs_f64());
            std::thread::sleep(GLANCE);
        }
    }

    /// Waits until the status of every controller is so; the time it was.
    #[track_caller]
    pub(crate) fn await_statuses(
        &mut self,
        what: &str,
        deadline: Duration,
        holds: impl Fn(&Status) -> bool,
    ) -> Duration {
        let holds = |status: &Option<Status>| status.as_ref().is_some_and(&holds);
        let at =
            self.await_that(what, deadline, |story| story.cluster.statuses().iter().all(holds));
        self.note("every controller", format!("says: {what}"));
        at
    }

    /// Waits until every controller leaves that apiserver out; the time the last one began to.
    #[track_caller]
    pub(crate) fn await_out(&mut self, apiserver: SocketAddr, deadline: Duration) -> Duration {
        let what = format!("{apiserver} is out");
        let seen = self.await_statuses(&what, deadline, |status| !status.uses(apiserver));
        let mut last = Duration::ZERO;
        for node in 0..self.cluster.world.nodes().len() {
            let status = status::ask(self.cluster.world.node(node)).unwrap();
            // The status says it more exactly than asking again and again can tell.
            let Some(known) = status.apiserver(apiserver) else {
                last = last.max(seen);
                continue;
            };
            let out = self.now().saturating_sub(Duration::from_millis(known.since_ms));
            let who = self.cluster.world.node(node).name().to_owned();
            let reason = Some(known.reason.clone());
            println!("{}", Entry { at: out, who, event: "leaves it out".to_owned(), reason });
            last = last.max(out);
        }
        last
    }

    /// Waits until every controller uses all apiservers again, and whoever asks gets answers from each.
    #[track_caller]
    pub(crate) fn await_whole(&mut self, limit: Duration) -> Duration {
        let deadline = self.now() + limit;
        let nodes = 0..self.cluster.world.nodes().len();
        let apiservers: Vec<SocketAddr> = nodes.map(|node| self.cluster.apiserver(node)).collect();
        let whole = |status: &Option<Status>| {
            status.as_ref().is_some_and(|status| status.is_whole(&apiservers))
        };
        let at = self.await_that("all apiservers are in", deadline, |story| {
            story.cluster.assert_all_run();
            story.cluster.statuses().iter().all(whole)
        });
        let names = self.cluster.world.nodes().iter().map(|node| node.name().to_owned());
        let names: Vec<String> = names.collect();
        if self.client.is_some() {
            self.await_that("answers by all apiservers, and by nobody else", deadline, |story| {
                let answers = story.figures(&(at..story.now())).replicas;
                answers.keys().eq(&names)
            });
        }
        at
    }

    /// The sums of the client over a window, once all requests begun in it are finished.
    pub(crate) fn final_figures(&mut self, window: &Range<Duration>) -> Figures {
        let deadline = self.now() + Duration::from_secs(10);
        self.await_that("requests end", deadline, |story| story.client().has_finished(window.end));
        let figures = self.figures(window);
        self.print_figures(&figures);
        figures
    }

    /// How long the held watch was missing, each time it was cut within the window and came back.
    pub(crate) fn watch_gaps(&self, window: &Range<Duration>) -> Vec<Duration> {
        let changes = self.client().watch_changes();
        let pairs = changes.windows(2).filter(|pair| window.contains(&pair[0].at));
        pairs
            .filter(|pair| !pair[0].established && pair[1].established)
            .map(|pair| pair[1].at - pair[0].at)
            .collect()
    }

    /// Whether the held watch is established.
    pub(crate) fn watch_stands(&self) -> bool {
        self.client().watch_changes().last().is_some_and(|change| change.established)
    }

    /// How often the virtual IP went from one node to another.
    pub(crate) fn moves(&self, window: &Range<Duration>) -> u64 {
        self.holdings().moves(window)
    }

    fn await_steady(&mut self) {
        self.await_whole(START_LIMIT);
        let limit = self.now() + Duration::from_secs(30);
        self.await_that("a steady cluster", limit, |story| {
            let window = story.now().saturating_sub(STEADY_FOR)..story.now();
            let one_holder = story.holdings().time_with(&window, |holders| holders != 1).is_zero();
            let failed = story.client.as_ref().map_or(0, |client| client.figures(&window).failed());
            one_holder && failed == 0
        });
    }

    pub(crate) fn figures(&self, window: &Range<Duration>) -> Figures {
        self.client().figures(window)
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the client was started before this chapter")
    }

    /// Prints what the watchers have seen since the last call.
    fn take_note(&mut self) {
        let holdings = self.observer.holdings();
        for change in &holdings.changes()[self.seen_changes..] {
            let event = if change.held { "holds the virtual IP" } else { "lost the virtual IP" };
            let who = self.cluster.world.node(change.node).name();
            print_entry(change.at, who.to_owned(), event.to_owned());
        }
        self.seen_changes = holdings.changes().len();

        let Some(client) = &self.client else { return };
        let watch = client.watch_changes();
        for change in &watch[self.seen_watch_changes..] {
            let event = if change.established { "watch established" } else { "watch cut" };
            print_entry(change.at, "client".to_owned(), event.to_owned());
        }
        self.seen_watch_changes = watch.len();
    }

    fn print_figures(&mut self, figures: &Figures) {
        let text = format!(
            "{} requests, {} answered, longest silence {:.1?}, slowest connect {:.1?}, slowest handshake {:.1?}, median {:.1?}, answers {:?}, failures {:?}",
            figures.requests,
            figures.answered,
            figures.longest_silence,
            figures.slowest_connect,
            figures.slowest_handshake,
            figures.median,
            figures.replicas.values().collect::<Vec<_>>(),
            figures.failures,
        );
        self.note("client", text);
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.take_note();
            println!("\n{}", self.cluster.logs());
        }
    }
}

fn print_entry(at: Duration, who: String, event: String) {
    println!("{}", Entry { at, who, event, reason: None });
}
