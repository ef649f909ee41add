//! SIGINT and SIGTERM as a flag, so that the lab ends in good order: terminal restored, directory removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// Whether the lab was asked to end.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the signals from now on, on a thread that lasts as long as the process.
    pub(crate) fn catch() -> Result<Self, Error> {
        let refused = |source| Error::System { what: "a signal handler", source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let flag = Self(Arc::new(AtomicBool::new(false)));
        let shared = flag.clone();
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
            (interrupt, signal(SignalKind::terminate()).map_err(refused)?)
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                });
                shared.0.store(true, Ordering::Relaxed);
            })
            .map_err(|source| Error::System { what: "a thread", source })?;
        Ok(flag)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
