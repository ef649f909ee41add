use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::world::Host;

use crate::common::adverts::Adverts;
use crate::common::error::Error;
use crate::common::run_in_time;
use crate::outcome::Heard;

/// Writes down who advertises when, on a host that takes no part, until dropped.
pub(crate) struct Witness {
    over: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
    thread: Option<JoinHandle<()>>,
}

/// The longest that the thread does not look whether it is over.
const GLANCE: Duration = Duration::from_millis(100);

impl Witness {
    /// Times count from `origin`.
    pub(crate) fn start(host: &Host, origin: Instant) -> Result<Self, Error> {
        let adverts = Adverts::hear(host)?;
        let (over, heard) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let work = {
            let (over, heard) = (Arc::clone(&over), Arc::clone(&heard));
            move || listen(&adverts, origin, &over, &heard)
        };
        let thread = std::thread::Builder::new().name("witness".to_owned()).spawn(work);
        Ok(Self { over, heard, thread: Some(thread.map_err(Error::system("a thread"))?) })
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn listen(adverts: &Adverts, origin: Instant, over: &AtomicBool, heard: &Mutex<Vec<Heard>>) {
    run_in_time();
    while !over.load(Relaxed) {
        match adverts.next(GLANCE) {
            Ok(Some(source)) => lock(heard).push(Heard { at: origin.elapsed(), source }),
            Ok(None) => {}
            // What is missing from now on shows as the longest gap of all.
            Err(error) => return eprintln!("the witness of the wire: {error}"),
        }
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    // A panic elsewhere leaves the list whole: each change is one push.
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
