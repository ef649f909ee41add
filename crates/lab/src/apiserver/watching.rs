//! A watch: one JSON line per change, until its time is over, the server closes, or the client goes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::objects::{self, Form, Resource};
use super::requests::Body;
use super::store::Store;

/// As kube-apiserver: about once a minute, and once just before the end.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// What a watch was asked for.
pub(super) struct Watch {
    pub(super) store: Store,
    pub(super) revisions: watch::Receiver<u64>,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) resource: Resource,
    pub(super) form: Form,
    /// Whether the selectors let `default/kubernetes` through.
    pub(super) selected: bool,
    /// The revision after which to begin; `None` begins with the present state.
    pub(super) since: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) limit: Duration,
}

struct Progress {
    watch: Watch,
    /// The newest revision sent.
    sent: u64,
    lines: VecDeque<Bytes>,
    ended: bool,
    deadline: Instant,
    next_bookmark: Instant,
}

enum Wake {
    Revision,
    Bookmark,
    End,
}

pub(super) fn body(watch: Watch) -> Body {
    let started = Instant::now();
    let deadline = started + watch.limit;
    let mut progress = Progress {
        sent: watch.since.unwrap_or(0),
        watch,
        lines: VecDeque::new(),
        ended: false,
        deadline,
        next_bookmark: next_bookmark(started, deadline),
    };
    progress.begin();
    let lines = stream::unfold(progress, |mut progress| async move {
        let line = progress.next_line().await?;
        Some((Ok::<_, Infallible>(Frame::data(line)), progress))
    });
    StreamBody::new(lines).boxed_unsync()
}

impl Progress {
    fn begin(&mut self) {
        if self.watch.since.is_some() {
            return self.catch_up();
        }
        match self.watch.store.latest() {
            Ok(Some(revision)) => {
                self.sent = revision.number;
                let object = self.watch.resource.shown(&revision, self.watch.form);
                self.event("ADDED", &object);
            }
            Ok(None) => {}
            Err(error) => self.fail(500, "InternalError", &error.to_string()),
        }
    }

    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let wake = tokio::select! {
                // In this order: at its end a watch sends nothing more.
                biased;
                _ = self.watch.closing.wait_for(|closing| *closing) => Wake::End,
                () = sleep_until(self.deadline) => Wake::End,
                changed = self.watch.revisions.changed() => match changed {
                    Ok(()) => Wake::Revision,
                    Err(_) => Wake::End,
                },
                () = sleep_until(self.next_bookmark) => Wake::Bookmark,
            };
            match wake {
                Wake::Revision => self.catch_up(),
                Wake::Bookmark => self.mark(),
                Wake::End => return None,
            }
        }
    }

    fn catch_up(&mut self) {
        match self.watch.store.after(self.sent) {
            Ok(Some(revisions)) => {
                for revision in revisions {
                    self.sent = revision.number;
                    let kind = if revision.number == 1 { "ADDED" } else { "MODIFIED" };
                    let object = self.watch.resource.shown(&revision, self.watch.form);
                    self.event(kind, &object);
                }
            }
            // Too old is told inside the stream, as the real watch cache does.
            Ok(None) => {
                let message = format!("too old resource version: {}", self.sent);
                self.fail(410, "Expired", &message);
            }
            Err(error) => self.fail(500, "InternalError", &error.to_string()),
        }
    }

    fn mark(&mut self) {
        self.next_bookmark = next_bookmark(Instant::now(), self.deadline);
        if self.watch.bookmarks {
            let bookmark = self.watch.resource.bookmark(self.sent);
            self.line("BOOKMARK", &bookmark);
        }
    }

    fn fail(&mut self, code: u16, reason: &str, message: &str) {
        self.line("ERROR", &objects::status(code, reason, message));
        self.ended = true;
    }

    fn event(&mut self, kind: &str, object: &Value) {
        if self.watch.selected {
            self.line(kind, object);
        }
    }

    fn line(&mut self, kind: &str, object: &Value) {
        let mut line = json!({ "type": kind, "object": object }).to_string();
        line.push('\n');
        self.lines.push_back(Bytes::from(line));
    }
}

fn next_bookmark(now: Instant, deadline: Instant) -> Instant {
    let last = deadline.checked_sub(LAST_BOOKMARK).filter(|last| now < *last);
    (now + BOOKMARK_INTERVAL).min(last.unwrap_or(deadline))
}
