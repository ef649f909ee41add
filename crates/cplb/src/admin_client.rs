use std::io;
use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::error::Error;

/// Asks the daemon behind `socket` for `path`.
pub(crate) async fn ask(socket: &Path, path: &str) -> Result<String, Error> {
    let failed = |source| Error::NotRunning { socket: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(failed)?;
    request(stream, path).await.map_err(|error| failed(io::Error::other(error)))
}

/// Asks the daemon behind `socket` to do what is at `path`; what it says, as an error if it refuses.
pub(crate) async fn order(socket: &Path, path: &str) -> Result<Result<String, String>, Error> {
    let failed = |source| Error::NotRunning { socket: socket.to_owned(), source };
    let stream = UnixStream::connect(socket).await.map_err(failed)?;
    let answer = exchange(stream, Method::POST, path).await;
    let (status, text) = answer.map_err(|error| failed(io::Error::other(error)))?;
    let text = text.trim_end().to_owned();
    Ok(if status.is_success() { Ok(text) } else { Err(text) })
}

async fn request(stream: UnixStream, path: &str) -> hyper::Result<String> {
    let (_, text) = exchange(stream, Method::GET, path).await?;
    Ok(text)
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
) -> hyper::Result<(StatusCode, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    // The path is one of our own.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("cplb"));
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        answer = exchange => answer,
        Err(error) = connection => Err(error),
    }
}
