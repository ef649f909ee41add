//! What all apiservers have in common.

use std::time::Duration;

use lab::world::Daemon;

use crate::story::Story;

const FROZEN_FOR: Duration = Duration::from_secs(5);

/// All apiservers turn unhealthy at once. That is no reason to use none.
pub(crate) fn hung(story: &mut Story) {
    let began = story.now();
    let at = story.act("frozen (SIGSTOP)", |cluster| &mut cluster.etcd, Daemon::freeze);
    story.await_statuses("none is healthy, all stay in use", at + FROZEN_FOR, |status| {
        let known = &status.load_balancer.apiservers;
        status.load_balancer.discovery.fail_open
            && known.len() == 3
            && known.iter().all(|apiserver| apiserver.usable && apiserver.health == "unhealthy")
    });
    story.wait_until(at + FROZEN_FOR);
    let at = story.act("thawed (SIGCONT)", |cluster| &mut cluster.etcd, Daemon::thaw);
    let back = story.await_statuses("all are healthy", at + Duration::from_secs(5), |status| {
        status.load_balancer.apiservers.iter().all(|apiserver| apiserver.health == "healthy")
    });
    story.note("every controller", format!("saw it within {:.3?}", back - at));

    let window = began..story.now();
    let figures = story.final_figures(&window);
    assert_eq!(figures.failed(), 0, "{figures:?}");
    assert_eq!(story.moves(&window), 0);
}
