use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::error::Error;
use crate::common::run_in_time;

/// How late the witnesses may be: the longest that a thread of their kind overslept.
pub(crate) struct Oversleep {
    over: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

const EACH: Duration = Duration::from_millis(1);

impl Oversleep {
    pub(crate) fn watch() -> Result<Self, Error> {
        let (over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = {
            let (over, longest) = (Arc::clone(&over), Arc::clone(&longest));
            move || {
                run_in_time();
                while !over.load(Relaxed) {
                    let begin = Instant::now();
                    std::thread::sleep(EACH);
                    let late = begin.elapsed().saturating_sub(EACH);
                    let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
                    longest.fetch_max(late, Relaxed);
                }
            }
        };
        let thread = std::thread::Builder::new().name("oversleep".to_owned()).spawn(work);
        Ok(Self { over, longest, thread: Some(thread.map_err(Error::system("a thread"))?) })
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Relaxed))
    }
}

impl Drop for Oversleep {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
