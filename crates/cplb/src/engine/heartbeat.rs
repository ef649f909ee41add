use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};

use keepalived::Heart;
use vip::Service;

/// Tells keepalived's watchdog as long as this process runs and the virtual IPs are served.
///
/// On a thread of its own, as Builtin's VRRP is: others may wait for the kernel's locks.
pub(crate) struct Heartbeat {
    /// Dropped, it wakes the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    pub(super) fn start(heart: Heart, service: Arc<dyn Service>) -> io::Result<Self> {
        let (running, stopped) = mpsc::channel();
        let work = move || {
            while stopped.recv_timeout(Heart::EACH) == Err(RecvTimeoutError::Timeout) {
                if service.alive() {
                    heart.beat();
                }
            }
        };
        let thread = thread::Builder::new().name("heartbeat".into()).spawn(work)?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    /// Waits for the thread, which must not be the last that has the service.
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
