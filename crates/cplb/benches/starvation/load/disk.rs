use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::error::Error;

/// Threads that write and have every write brought to the disk.
pub(super) struct Disk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    syncs: AtomicU64,
    /// In microseconds.
    slowest: AtomicU64,
}

const THREADS: usize = 4;

/// Written before each fsync.
const BYTES: usize = 1 << 20;

/// The files are written again from the beginning beyond this.
const LARGEST: u64 = 16 << 20;

impl Disk {
    /// On the file system of the directory.
    pub(super) fn start(directory: &Path) -> Result<Self, Error> {
        let mut disk = Self { shared: Arc::default(), threads: Vec::new() };
        for number in 0..THREADS {
            let file = File::create(directory.join(format!("storm-{number}")));
            let file = file.map_err(Error::system("a file"))?;
            let shared = Arc::clone(&disk.shared);
            let thread = std::thread::Builder::new().name("disk".to_owned());
            let thread = thread.spawn(move || {
                if let Err(error) = storm(file, &shared) {
                    eprintln!("the disk is no longer kept busy: {error}");
                }
            });
            disk.threads.push(thread.map_err(Error::system("a thread"))?);
        }
        Ok(disk)
    }

    pub(super) fn syncs(&self) -> u64 {
        self.shared.syncs.load(Relaxed)
    }

    pub(super) fn slowest(&self) -> Duration {
        Duration::from_micros(self.shared.slowest.load(Relaxed))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

fn storm(mut file: File, shared: &Shared) -> io::Result<()> {
    let bytes = vec![0x5a; BYTES];
    while !shared.over.load(Relaxed) {
        if file.stream_position()? >= LARGEST {
            file.rewind()?;
        }
        file.write_all(&bytes)?;
        let begin = Instant::now();
        file.sync_all()?;
        let took = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.slowest.fetch_max(took, Relaxed);
        shared.syncs.fetch_add(1, Relaxed);
    }
    Ok(())
}
