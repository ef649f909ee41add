use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::common::error::Error;
use crate::common::run_in_time;

/// What daemons log, each through a pipe, as a supervisor reads it. A supervisor may hang.
pub(crate) struct Logs {
    over: Arc<AtomicBool>,
    pipes: Arc<Mutex<Pipes>>,
    thread: Option<JoinHandle<()>>,
}

struct Pipes {
    stalled: bool,
    pipes: Vec<Pipe>,
}

struct Pipe {
    /// Both ends: it never ends, whatever the daemon does.
    file: File,
    text: Vec<u8>,
}

/// How often the pipes are emptied. They hold 64 KiB each, far more than is logged meanwhile.
const GLANCE: Duration = Duration::from_millis(50);

/// What goes into a pipe as a whole or not at all (PIPE_BUF, pipe(7)).
const WHOLE: usize = 4096;

impl Logs {
    /// Puts a pipe in the place of each log. Nothing may be there yet.
    pub(crate) fn read<'a>(logs: impl Iterator<Item = &'a Path>) -> Result<Self, Error> {
        let pipes: Vec<Pipe> =
            logs.map(Pipe::make).collect::<Result<_, _>>().map_err(Error::system("a pipe"))?;
        let pipes = Arc::new(Mutex::new(Pipes { stalled: false, pipes }));
        let over = Arc::new(AtomicBool::new(false));
        let work = {
            let (over, pipes) = (Arc::clone(&over), Arc::clone(&pipes));
            move || {
                run_in_time();
                while !over.load(Relaxed) {
                    std::thread::sleep(GLANCE);
                    lock(&pipes).take();
                }
            }
        };
        let thread = std::thread::Builder::new().name("logs".to_owned()).spawn(work);
        Ok(Self { over, pipes, thread: Some(thread.map_err(Error::system("a thread"))?) })
    }

    /// Reads no more, and fills the pipes: who writes a line waits.
    pub(crate) fn stall(&self) {
        let mut pipes = lock(&self.pipes);
        pipes.stalled = true;
        pipes.pipes.iter_mut().for_each(Pipe::fill);
    }

    /// Reads again.
    pub(crate) fn flow(&self) {
        lock(&self.pipes).stalled = false;
    }

    /// What each daemon has logged so far, without empty lines.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut pipes = lock(&self.pipes);
        pipes.take();
        pipes.pipes.iter().map(Pipe::text).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Pipes {
    fn take(&mut self) {
        if !self.stalled {
            self.pipes.iter_mut().for_each(Pipe::take);
        }
    }
}

impl Pipe {
    fn make(path: &Path) -> io::Result<Self> {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
        Ok(Self { file, text: Vec::new() })
    }

    fn take(&mut self) {
        // Ends with "would block", and keeps what it read until then.
        let _would_block = self.file.read_to_end(&mut self.text);
    }

    fn fill(&mut self) {
        for size in [WHOLE, 1] {
            // Empty lines, until none fits any more.
            while self.file.write(&vec![b'\n'; size]).is_ok() {}
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        text.lines().filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
    }
}

fn lock(pipes: &Mutex<Pipes>) -> MutexGuard<'_, Pipes> {
    // A panic elsewhere leaves what was read until then.
    pipes.lock().unwrap_or_else(PoisonError::into_inner)
}
