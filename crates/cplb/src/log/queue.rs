use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Log lines on their way to whoever reads them, which may hang: a full pipe keeps the one thread
/// waiting that writes, and nobody else. Lines beyond [`CAPACITY`] are lost, and counted.
#[derive(Clone)]
pub(crate) struct Queue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// Writes what is left when dropped.
#[must_use]
pub(crate) struct Rest(SyncSender<Entry>);

enum Entry {
    Line(Vec<u8>),
    /// Everything before it is written.
    Written(mpsc::Sender<()>),
}

/// Minutes of a busy log.
const CAPACITY: usize = 4096;

/// The longest that the end of the program waits for a reader.
const PATIENCE: Duration = Duration::from_secs(1);

const GLANCE: Duration = Duration::from_millis(10);

impl Queue {
    /// Starts the thread that writes. It tells how many lines were lost once it goes on.
    pub(crate) fn start(
        to: impl Write + Send + 'static,
        tell_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<(Self, Rest)> {
        let (entries, waiting) = mpsc::sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let work = {
            let lost = Arc::clone(&lost);
            move || write(to, &waiting, &lost, tell_lost)
        };
        std::thread::Builder::new().name("log".to_owned()).spawn(work)?;
        Ok((Self { entries: entries.clone(), lost }, Rest(entries)))
    }
}

impl MakeWriter<'_> for Queue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Write for Queue {
    /// One line, as the formatter gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let (written, all) = mpsc::channel();
        let mut last = Entry::Written(written);
        while let Err(TrySendError::Full(again)) = self.0.try_send(last) {
            if Instant::now() > deadline {
                return;
            }
            last = again;
            std::thread::sleep(GLANCE);
        }
        // An error is a reader without patience for ours.
        let _written = all.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Until nobody can log any more.
fn write(mut to: impl Write, waiting: &Receiver<Entry>, lost: &AtomicU64, tell_lost: impl Fn(u64)) {
    for entry in waiting {
        match entry {
            // Who does not want to read any more misses nothing.
            Entry::Line(line) => drop(to.write_all(&line)),
            Entry::Written(told) => drop(told.send(())),
        }
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            tell_lost(lost);
        }
    }
}

#[cfg(test)]
mod tests;
