use std::io;
use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::error::Error;

/// Asks the daemon behind `socket` for `path`.
pub(crate) async fn ask(socket: &Path, path: &str) -> Result<String, Error> {
    let failed = |source| Error::NotRunning { socket: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(failed)?;
    request(stream, path).await.map_err(|error| failed(io::Error::other(error)))
}

async fn request(stream: UnixStream, path: &str) -> hyper::Result<String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    // The path is one of our own literals.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("cplb"));
    let exchange = async {
        let response = sender.send_request(request).await?;
        Ok::<_, hyper::Error>(response.into_body().collect().await?.to_bytes())
    };
    tokio::select! {
        body = exchange => Ok(String::from_utf8_lossy(&body?).into_owned()),
        Err(error) = connection => Err(error),
    }
}
