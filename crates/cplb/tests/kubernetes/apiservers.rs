//! Apiservers that die, hang and leave.

use std::time::Duration;

use lab::world::Daemon;

use crate::cluster::SHUTDOWN_DELAY;
use crate::story::{START_LIMIT, Story};

/// Before and after a fault.
const MARGIN: Duration = Duration::from_secs(1);
/// More than any figure below: a figure that is too high shall be said.
const PATIENCE: Duration = Duration::from_secs(5);
/// Each controller asks each apiserver once a second, and believes a refusal at once.
const REFUSAL_SEEN_WITHIN: Duration = Duration::from_millis(1_500);
const HANG_SEEN_WITHIN: Duration = Duration::from_secs(3);
const SLOWEST_HANDSHAKE: Duration = Duration::from_millis(1_300);
/// Requests that an apiserver already had when it died or hung: nobody can ask again in the client's name.
const IN_FLIGHT: u64 = 20;

/// SIGKILL: the one beside the holder of the virtual IP.
pub(crate) fn killed(story: &mut Story) {
    let node = story.holder();
    let apiserver = story.cluster.apiserver(node);
    let began = story.now();
    story.wait_until(began + MARGIN);
    let at = act(story, node, "killed (SIGKILL)", Daemon::kill);
    let out = story.await_out(apiserver, at + PATIENCE) - at;
    assert!(out <= REFUSAL_SEEN_WITHIN, "out after {out:?}");
    story.wait_until(at + Duration::from_secs(3));

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    assert!(figures.failed() <= IN_FLIGHT, "{figures:?}");
    assert_eq!(story.moves(&window), 0);

    act(story, node, "started again", Daemon::start);
    story.await_whole(START_LIMIT);
}

/// SIGSTOP: connections are still accepted by its kernel, and nothing ever comes.
pub(crate) fn hung(story: &mut Story) {
    let node = story.standby();
    let apiserver = story.cluster.apiserver(node);
    let began = story.now();
    story.wait_until(began + MARGIN);
    let at = act(story, node, "frozen (SIGSTOP)", Daemon::freeze);
    let out = story.await_out(apiserver, at + PATIENCE) - at;
    assert!(out <= HANG_SEEN_WITHIN, "out after {out:?}");
    story.wait_until(at + Duration::from_secs(5));

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    assert_eq!(figures.failed_handshakes, 0, "{figures:?}");
    assert!(figures.failed() <= IN_FLIGHT, "{figures:?}");
    assert!(figures.slowest_handshake <= SLOWEST_HANDSHAKE, "{figures:?}");
    assert_eq!(story.moves(&window), 0);

    let at = act(story, node, "thawed (SIGCONT)", Daemon::thaw);
    let back = story.await_whole(Duration::from_secs(10));
    story.note("every controller", format!("had it back within {:.3?}", back - at));
}

/// SIGTERM: it says that it is not ready, serves a while longer, and closes its door.
pub(crate) fn stopped(story: &mut Story) {
    let node = story.standby();
    let apiserver = story.cluster.apiserver(node);
    let began = story.now();
    story.wait_until(began + MARGIN);
    let at = act(story, node, "told to stop (SIGTERM)", Daemon::stop);
    story.await_out(apiserver, at + SHUTDOWN_DELAY);
    story.wait_until(at + SHUTDOWN_DELAY + 2 * MARGIN);

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_eq!(story.moves(&window), 0);

    // While somebody watches through it, it stays for another minute.
    act(story, node, "killed (SIGKILL)", Daemon::kill);
    let gone = story.cluster.world.node_mut(node).apiserver.wait(Duration::from_secs(5));
    assert!(gone, "it is gone after SIGKILL");
    act(story, node, "started again", Daemon::start);
    story.await_whole(START_LIMIT);
}

fn act(
    story: &mut Story,
    node: usize,
    what: &str,
    action: fn(&mut Daemon) -> Result<(), lab::Error>,
) -> Duration {
    story.act(what, |cluster| &mut cluster.world.node_mut(node).apiserver, action)
}
