//! What systemd is told (`Type=notify-reload`, sd_notify(3)). Elsewhere nobody listens.

use sd_notify::NotifyState;

/// The start is over; what is started after this one may be.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
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
pub(crate) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Another process is the service's main one from now on.
pub(crate) fn passed_on_to(process: u32, status: &str) {
    tell(&[NotifyState::MainPid(process), NotifyState::Status(status)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told of the state");
    }
}
