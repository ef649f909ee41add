//! The controller that holds the virtual IP leaves or dies, and clients go on.

use std::time::Duration;

use lab::world::Daemon;

use crate::kubectl::{self, Watch};
use crate::serving::await_shown;
use crate::story::{LEFT, Story};

const MARGIN: Duration = Duration::from_secs(1);
/// An heir that had to find out for itself would need 219 ms at least (Skew_Time of priority 200, RFC 3768 section
/// 6.1). A hand-over takes a few; the rest is for three apiservers that want the same cores.
const SILENCE_WHEN_STOPPED: Duration = Duration::from_millis(150);
const SILENCE_WHEN_KILLED: Duration = Duration::from_millis(3_300);
const RELEASE_WHEN_KILLED: Duration = Duration::from_secs(3);
/// A client tries again so soon after its watch was cut, on the whole.
const WATCH_BACK_WITHIN: Duration = Duration::from_secs(1);
/// A process that is killed takes a few milliseconds to end.
const GRAZE: Duration = Duration::from_millis(100);
/// What the client says of a connection that was neither answered nor ended.
const NEVER_TOLD: &str = "no answer in time";
const DRAIN_LIMIT: Duration = Duration::from_secs(40);

/// SIGTERM: the heir is there before the holder goes.
pub(crate) fn stopped(story: &mut Story) {
    let holder = story.holder();
    let began = story.now();
    let mut watch = Watch::start(&story.cluster, "kubectl-watch-stopped");
    story.wait_until(began + MARGIN);
    let at = act(story, holder, "told to stop (SIGTERM)", Daemon::stop);
    story.wait_until(at + Duration::from_secs(4));

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert_eq!(story.moves(&window), 1);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    assert!(figures.longest_silence <= SILENCE_WHEN_STOPPED, "{figures:?}");
    let gaps = story.watch_gaps(&window);
    assert!(gaps.iter().all(|gap| *gap <= WATCH_BACK_WITHIN), "{gaps:?}");
    go_on_with_kubectl(story, &mut watch, "after-stop");

    let gone = story.cluster.world.node_mut(holder).controller.wait(DRAIN_LIMIT);
    assert!(gone, "it ends when its connections have");
    assert_eq!(story.cluster.world.node_mut(holder).controller.state(), LEFT);
    come_back(story, holder);
}

/// SIGKILL: nobody tidies up but the kernel.
pub(crate) fn killed(story: &mut Story) {
    let holder = story.holder();
    let began = story.now();
    let mut watch = Watch::start(&story.cluster, "kubectl-watch-killed");
    story.wait_until(began + MARGIN);
    let at = act(story, holder, "killed (SIGKILL)", Daemon::kill);
    story.wait_until(at + Duration::from_secs(6));

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert!(figures.longest_silence <= SILENCE_WHEN_KILLED, "{figures:?}");
    assert_eq!(story.moves(&window), 1);
    let released = story.holdings().released_after(holder, at).expect("it lost the virtual IP");
    assert!(released <= RELEASE_WHEN_KILLED, "the dead node held the virtual IP for {released:?}");
    let late = at + RELEASE_WHEN_KILLED..window.end;
    assert_eq!(story.holdings().time_with(&late, |holders| holders > 1), Duration::ZERO);
    // Whoever was connected to the dead process, or about to be, is told so.
    let met_its_end = story.figures(&(at - GRAZE..at + GRAZE));
    let never_told = met_its_end.failures.keys().any(|failure| failure.ends_with(NEVER_TOLD));
    assert!(!never_told, "{met_its_end:?}");
    go_on_with_kubectl(story, &mut watch, "after-kill");
    come_back(story, holder);
}

/// A watch of kubectl ends when it is cut: who wants more starts it again.
fn go_on_with_kubectl(story: &mut Story, watch: &mut Watch, configmap: &str) {
    assert!(story.watch_stands(), "the watch held open is back");
    if !watch.is_alive() {
        story.note("kubectl", "its watch was cut, it is started again".to_owned());
        *watch = Watch::start(&story.cluster, &format!("kubectl-watch-{configmap}"));
    }
    kubectl::run(&story.cluster, &["create", "configmap", configmap]);
    await_shown(story, watch, configmap);
    story.note("kubectl", format!("its watch shows {configmap}"));
}

/// A started node takes nothing away.
fn come_back(story: &mut Story, node: usize) {
    let at = act(story, node, "started again", Daemon::start);
    story.await_whole(Duration::from_secs(30));
    story.wait_until(at + Duration::from_secs(5));
    let window = at..story.now();
    assert_eq!(story.moves(&window), 0);
    let figures = story.final_figures(&window);
    assert_eq!(figures.failed(), 0, "{figures:?}");
}

fn act(
    story: &mut Story,
    node: usize,
    what: &str,
    action: fn(&mut Daemon) -> Result<(), lab::Error>,
) -> Duration {
    story.act(what, |cluster| &mut cluster.world.node_mut(node).controller, action)
}
