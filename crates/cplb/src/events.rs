use tracing::{error, info, warn};
use vip::Event;
use vrrp::State;

/// One log line for everything that is told of keepalived, whose own log comes by itself.
pub(crate) fn log_keepalived(event: &keepalived::Event) {
    use keepalived::Event;
    match event {
        Event::Transition { instance, transition } => info!(
            instance,
            from = transition.from.name(),
            to = transition.to.name(),
            "{}: {}",
            meaning(transition.from, transition.to),
            transition.reason
        ),
        Event::Started { process } => info!(process, "keepalived runs"),
        Event::Died { how, again_in } => {
            error!("keepalived ended ({how}); it is started again in {again_in:?}");
        }
        Event::Removed { what } => warn!("removed what keepalived left: {what}"),
        Event::Trouble { error } => error!("{error}"),
        Event::Ended(Ok(())) => info!("keepalived ended"),
        // It becomes the exit of the program, which says it.
        Event::Ended(Err(_)) => {}
    }
}

/// One log line for everything the VRRP thread tells.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Transition { instance, transition } => info!(
            instance,
            from = transition.from.name(),
            to = transition.to.name(),
            "{}: {}",
            meaning(transition.from, transition.to),
            transition.reason
        ),
        Event::Dropped { instance, source, reason } => {
            warn!(instance, %source, reason = reason.label(), "VRRP packet dropped: {reason}");
        }
        Event::AddressesDiffer { instance, source } => warn!(
            instance,
            %source,
            "{source} advertises other virtual IPs than are configured here: set the same virtualIPs on every node"
        ),
        Event::PutBack { instance, address } => {
            warn!(instance, %address, "somebody removed the virtual IP from the interface; it is back");
        }
        Event::ServiceSilent => error!(
            "the proxy threads do not turn: the virtual IP is no longer renewed and leaves this node"
        ),
        Event::ServiceBack => info!("the proxy threads turn again"),
        Event::Late { by } => {
            warn!(
                late_ms = by.as_millis(),
                "the VRRP thread ran late: this machine is starved of CPU"
            );
        }
        Event::Trouble { instance, error } => error!(instance, "{error}"),
        Event::NotRealtime { error } => {
            warn!(
                "no real-time priority for VRRP, a starved machine may lose the virtual IP: {error}"
            );
        }
        Event::PassedOn { pause } => {
            info!(pause_us = pause.as_micros(), "the new process speaks VRRP for this node now");
        }
        Event::NotPassedOn { reason } => warn!("VRRP stays with this process: {reason}"),
        Event::TookOver => info!("this process speaks VRRP for this node now"),
        Event::Ended(Ok(())) => info!("VRRP ended"),
        // It becomes the exit of the program, which says it.
        Event::Ended(Err(_)) => {}
    }
}

fn meaning(from: State, to: State) -> &'static str {
    match to {
        State::Active => "this node holds the virtual IP",
        _ if from == State::Active => "the virtual IP left this node",
        State::Backup => "watching the virtual IP",
        State::Initialize => "not taking part",
    }
}
