//! Which request gets which answer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use super::objects::{self, Form, Resource};
use super::store::Store;
use super::{Slices, watching};

/// The header that tells which replica answered.
pub const SERVED_BY: &str = "served-by";

/// kube-apiserver ends a watch without `timeoutSeconds` after 30 to 60 minutes.
const WATCH_LIMIT: Duration = Duration::from_secs(30 * 60);

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What all connections of a replica share.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) slices: Slices,
    pub(super) revisions: watch::Receiver<u64>,
    pub(super) leaving: watch::Receiver<bool>,
    pub(super) closing: watch::Receiver<bool>,
}

impl Server {
    /// `trusted`: the client showed a certificate of the cluster's authority.
    pub(super) fn answer(&self, request: &Request<Incoming>, trusted: bool) -> Response<Body> {
        let mut response = self.route(request, trusted);
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert(SERVED_BY, name);
        }
        response
    }

    fn route(&self, request: &Request<Incoming>, trusted: bool) -> Response<Body> {
        let path = request.uri().path();
        match path {
            "/readyz" if *self.leaving.borrow() => {
                return text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "[-]shutdown failed: reason withheld\nreadyz check failed",
                );
            }
            "/readyz" | "/livez" | "/healthz" => return text(StatusCode::OK, "ok"),
            "/version" => return json(StatusCode::OK, &objects::version()),
            _ => {}
        }
        if !trusted {
            let message =
                format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
            return failure(StatusCode::FORBIDDEN, "Forbidden", &message);
        }
        if request.method() != Method::GET {
            let message = "the server does not allow this method on the requested resource";
            return failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message);
        }
        let slices = self.slices == Slices::V1;
        match path.trim_end_matches('/') {
            "/openapi/v2" => typed(StatusCode::OK, "application/json", large(&objects::OPENAPI)),
            "/api" => json(StatusCode::OK, &objects::core_versions()),
            "/apis" => json(StatusCode::OK, &objects::groups(slices)),
            "/api/v1" => json(StatusCode::OK, &objects::resources(Resource::Endpoints)),
            "/apis/discovery.k8s.io/v1" if slices => {
                json(StatusCode::OK, &objects::resources(Resource::EndpointSlices))
            }
            path => match target(path)
                .filter(|(resource, _)| slices || *resource == Resource::Endpoints)
            {
                Some((resource, place)) => self.resource(request, resource, place),
                None => not_found(),
            },
        }
    }

    fn resource(
        &self,
        request: &Request<Incoming>,
        resource: Resource,
        place: Place,
    ) -> Response<Body> {
        let query = query(request.uri().query().unwrap_or_default());
        let form = form(request);
        let selected = place != Place::Elsewhere && selects_kubernetes(&query);
        if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
            return self.watch(&query, resource, form, selected);
        }
        let latest = match self.store.latest() {
            Ok(latest) => latest,
            Err(error) => {
                let message = format!("cannot read the shared directory: {error}");
                return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &message);
            }
        };
        let number = latest.as_ref().map_or(0, |latest| latest.number);
        let found = latest.as_ref().filter(|_| selected);
        match (place, found) {
            (Place::Object, Some(revision)) => {
                json(StatusCode::OK, &resource.shown(revision, form))
            }
            (Place::Object, None) => not_found(),
            (_, found) => json(StatusCode::OK, &resource.list(found, number, form)),
        }
    }

    fn watch(
        &self,
        query: &HashMap<String, String>,
        resource: Resource,
        form: Form,
        selected: bool,
    ) -> Response<Body> {
        let number = |key: &str| query.get(key).filter(|text| !text.is_empty());
        let since = match number("resourceVersion").map(|text| text.parse::<u64>()) {
            None | Some(Ok(0)) => None,
            Some(Ok(since)) => Some(since),
            Some(Err(_)) => {
                let message = "resourceVersion: Invalid value: not a number";
                return failure(StatusCode::BAD_REQUEST, "BadRequest", message);
            }
        };
        let limit = number("timeoutSeconds").and_then(|text| text.parse().ok());
        let bookmarks = query.get("allowWatchBookmarks").is_some_and(|asked| asked == "true");
        let body = watching::body(watching::Watch {
            store: self.store.clone(),
            revisions: self.revisions.clone(),
            closing: self.closing.clone(),
            resource,
            form,
            selected,
            since,
            bookmarks,
            limit: limit.map_or(WATCH_LIMIT, Duration::from_secs).min(WATCH_LIMIT),
        });
        typed(StatusCode::OK, "application/json", body)
    }
}

/// What a resource's path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A list that may hold `default/kubernetes`.
    List,
    /// A list of another namespace: always empty.
    Elsewhere,
    /// `default/kubernetes` itself.
    Object,
}

fn target(path: &str) -> Option<(Resource, Place)> {
    let (resource, rest) = if let Some(rest) = path.strip_prefix("/api/v1/") {
        (Resource::Endpoints, rest)
    } else {
        (Resource::EndpointSlices, path.strip_prefix("/apis/discovery.k8s.io/v1/")?)
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let place = match parts.as_slice() {
        [plural] if *plural == resource.plural() => Place::List,
        ["namespaces", "default", plural] if *plural == resource.plural() => Place::List,
        ["namespaces", _, plural] if *plural == resource.plural() => Place::Elsewhere,
        ["namespaces", "default", plural, "kubernetes"] if *plural == resource.plural() => {
            Place::Object
        }
        _ => return None,
    };
    Some((resource, place))
}

/// Whether the selectors of a list or watch let `default/kubernetes` through.
fn selects_kubernetes(query: &HashMap<String, String>) -> bool {
    let terms = |key: &str| {
        query
            .get(key)
            .into_iter()
            .flat_map(|terms| terms.split(','))
            .filter(|term| !term.is_empty())
    };
    let fields = terms("fieldSelector").all(|term| {
        matches(term, "metadata.name", "kubernetes")
            || matches(term, "metadata.namespace", "default")
    });
    fields
        && terms("labelSelector").all(|term| {
            term == "kubernetes.io/service-name"
                || matches(term, "kubernetes.io/service-name", "kubernetes")
        })
}

fn matches(term: &str, key: &str, value: &str) -> bool {
    if let Some((left, right)) = term.split_once("!=") {
        return left != key || right != value;
    }
    let Some((left, right)) = term.split_once('=') else { return false };
    left == key && right.trim_start_matches('=') == value
}

fn form(request: &Request<Incoming>) -> Form {
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_table = accepted.is_some_and(|accept| accept.contains("as=Table;v=v1;"));
    if wants_table { Form::Table } else { Form::Object }
}

fn query(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decoded(key)?, percent_decoded(value)?))
        })
        .collect()
}

/// The text with `%XX` and `+` resolved (URL Standard, application/x-www-form-urlencoded); `None` unless it is UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| hexadecimal(after)).flatten();
        rest = if escaped.is_some() { &after[2..] } else { after };
        decoded.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8(decoded).ok()
}

fn hexadecimal(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

fn not_found() -> Response<Body> {
    let message = "the server could not find the requested resource";
    failure(StatusCode::NOT_FOUND, "NotFound", message)
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response<Body> {
    json(code, &objects::status(code.as_u16(), reason, message))
}

fn json(code: StatusCode, value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    typed(code, "application/json", body)
}

fn text(code: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync();
    typed(code, "text/plain; charset=utf-8", body)
}

fn large(document: &'static [u8]) -> Body {
    Full::new(Bytes::from_static(document)).boxed_unsync()
}

fn typed(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
