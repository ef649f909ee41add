use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::world::Host;

use crate::common::error::Error;
use crate::common::run_in_time;
use crate::service::ADDRESS;

/// Asks the virtual IP each millisecond, from an ordinary Linux host, until dropped.
pub(crate) struct Client {
    over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Question>>>,
    thread: Option<JoinHandle<()>>,
}

struct Question {
    sent: Instant,
    answered: bool,
}

const EACH: Duration = Duration::from_millis(1);

/// An answer that took longer is none: it may have waited for the end of a silence.
pub(crate) const DEADLINE: Duration = Duration::from_millis(20);

impl Client {
    pub(crate) fn start(host: &Host) -> Result<Self, Error> {
        let socket = host.namespace.run(open)?.map_err(Error::system("the client's socket"))?;
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let work = {
            let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
            move || ask(&socket, &over, &asked)
        };
        let thread = std::thread::Builder::new().name("client".to_owned()).spawn(work);
        Ok(Self { over, asked, thread: Some(thread.map_err(Error::system("a thread"))?) })
    }

    /// Whether all of the last questions were answered, `count` of them.
    pub(crate) fn is_answered(&self, count: usize) -> bool {
        let settled = Instant::now().checked_sub(DEADLINE);
        let asked = lock(&self.asked);
        let mut last =
            asked.iter().rev().skip_while(|question| Some(question.sent) > settled).take(count);
        asked.len() > count && last.all(|question| question.answered)
    }

    /// The longest time without an answer: from the first question without one to the next that has
    /// one. All questions of the window have an answer by now, or get none.
    ///
    /// What counts is when they were asked: a client that is late itself is no silence.
    pub(crate) fn longest_silence(&self, window: &Range<Instant>) -> Duration {
        let asked = lock(&self.asked);
        let mut longest = Duration::ZERO;
        let mut since = None;
        for question in asked.iter().filter(|question| window.contains(&question.sent)) {
            let begin = *since.get_or_insert(question.sent);
            longest = longest.max(question.sent - begin);
            if question.answered {
                since = None;
            }
        }
        longest
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn open() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(ADDRESS)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn ask(socket: &UdpSocket, over: &AtomicBool, asked: &Mutex<Vec<Question>>) {
    run_in_time();
    let mut next = Instant::now();
    while !over.load(Relaxed) {
        turn(socket, &mut lock(asked));
        // After a pause of this thread it goes on at its pace and makes up for nothing.
        next = (next + EACH).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn turn(socket: &UdpSocket, asked: &mut Vec<Question>) {
    let mut answer = [0; 8];
    while let Ok(8) = socket.recv(&mut answer) {
        let question = usize::try_from(u64::from_be_bytes(answer)).ok();
        let question = question.and_then(|number| asked.get_mut(number));
        if let Some(question) = question.filter(|question| question.sent.elapsed() < DEADLINE) {
            question.answered = true;
        }
    }
    let number = asked.len() as u64;
    asked.push(Question { sent: Instant::now(), answered: false });
    // A neighbour that cannot be found is an error of a later call.
    let _sent = socket.send(&number.to_be_bytes());
}

fn lock(asked: &Mutex<Vec<Question>>) -> MutexGuard<'_, Vec<Question>> {
    // A panic elsewhere leaves the questions whole: each change is one push or one flag.
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
