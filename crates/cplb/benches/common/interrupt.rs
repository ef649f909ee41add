use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::error::Error;

/// Ctrl-C and SIGTERM as an error of whatever waits, so that everything is taken down in good order.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// The longest that a wait does not look.
const GLANCE: Duration = Duration::from_millis(50);

impl Interrupt {
    /// Catches the signals from now on, on a thread that lasts as long as the process.
    pub(crate) fn catch() -> Result<Self, Error> {
        let refused = Error::system("a signal handler");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(&refused)?;
        let inside = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(&refused)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(&refused)?;
        drop(inside);
        let flag = Self(Arc::new(AtomicBool::new(false)));
        let shared = flag.clone();
        let wait = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            shared.0.store(true, Relaxed);
        };
        let thread = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
        thread.map_err(Error::system("a thread"))?;
        Ok(flag)
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Error> {
        let end = Instant::now() + time;
        loop {
            if self.0.load(Relaxed) {
                return Err(Error::Interrupted);
            }
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(GLANCE));
        }
    }
}
