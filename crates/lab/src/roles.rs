//! What each controller says of itself over its admin socket, asked again and again.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};

use crate::Error;

const INTERVAL: Duration = Duration::from_millis(500);
/// A frozen controller does not answer.
const LIMIT: Duration = Duration::from_millis(300);
const SIZE_LIMIT: usize = 1024 * 1024;

/// A controller's part in VRRP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Role {
    /// Initialize, Backup or Active.
    pub(crate) state: String,
    /// Why.
    #[serde(default)]
    pub(crate) reason: String,
}

/// Asks all controllers, on a thread of its own, until dropped.
pub(crate) struct Roles {
    roles: Arc<Mutex<Vec<Option<Role>>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The part of a status that matters here.
#[derive(Deserialize)]
struct Status {
    virtual_routers: Vec<Role>,
}

impl Roles {
    pub(crate) fn start(run_dirs: Vec<PathBuf>) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::System { what: "a runtime", source })?;
        let roles = Arc::new(Mutex::new(vec![None; run_dirs.len()]));
        let shared = Arc::clone(&roles);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("roles".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = ask_for_ever(&run_dirs, &shared) => {}
                        _ = stopped => {}
                    }
                });
            })
            .map_err(|source| Error::System { what: "a thread", source })?;
        Ok(Self { roles, stop: Some(stop), thread: Some(thread) })
    }

    /// The last answers; `None` for who gave none.
    pub(crate) fn now(&self) -> Vec<Option<Role>> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

async fn ask_for_ever(run_dirs: &[PathBuf], roles: &Mutex<Vec<Option<Role>>>) {
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        let answers = join_all(run_dirs.iter().map(|run_dir| async {
            timeout(LIMIT, ask(run_dir.join("admin.sock"))).await.ok()?.ok()
        }));
        let answers = answers.await;
        *roles.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

async fn ask(socket: PathBuf) -> io::Result<Role> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped.
    tokio::spawn(connection);
    let request = Request::get("/status").header("host", "cplb").body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let body = Limited::new(response.into_body(), SIZE_LIMIT).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    let status: Status = serde_json::from_slice(&body)?;
    status.virtual_routers.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}
