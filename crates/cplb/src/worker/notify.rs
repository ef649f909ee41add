//! What systemd is told (`Type=notify-reload`, sd_notify(3)). Elsewhere nobody listens.

use sd_notify::NotifyState;

/// The node is served, or served again after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

/// The node is not served, and why.
pub(crate) fn not_ready(reason: &str) {
    tell(&[NotifyState::Status(&format!("not ready: {reason}"))]);
}

/// SIGHUP is being worked on.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
    }
}

/// SIGHUP is done with.
pub(crate) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// The end has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("connections are drained")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told of the state");
    }
}
