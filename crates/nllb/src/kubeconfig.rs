//! A kubeconfig that leads through the balancer.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;

/// The name that the serving certificate of every apiserver carries: pods use it.
pub const SERVICE_NAME: &str = "kubernetes.default.svc";
/// How the first line of every one begins, by which it is ours.
const MARK: &str = "# Written by cplb worker";

/// The kubeconfig `text`, read at `path`, with the balancer at `door` as the server of its current
/// context. Everything else stays as it is, but that file names become absolute. The first line says
/// whose it is.
///
/// Certificates of apiservers need not carry a loopback address (kubeadm's do not), so the client is
/// told which name to expect: `server_name`, or else the one the kubeconfig names already, or else
/// [`SERVICE_NAME`]. A `proxy-url` is left out: the balancer is on this machine.
///
/// # Errors
/// When it is no kubeconfig or its current context leads nowhere.
pub fn through_balancer(
    path: &Path,
    text: &str,
    door: SocketAddr,
    server_name: Option<&str>,
) -> Result<String, Error> {
    rewrite(path, text, door, server_name)
        .map_err(|reason| Error::Kubeconfig { path: path.to_owned(), reason })
}

fn rewrite(
    path: &Path,
    text: &str,
    door: SocketAddr,
    server_name: Option<&str>,
) -> Result<String, String> {
    // Its first line says what is wrong and where; the following ones show the text, which may be a key.
    let first_line = |error: serde_saphyr::Error| {
        error.to_string().lines().next().unwrap_or_default().to_owned()
    };
    let mut document: Value = serde_saphyr::from_str(text).map_err(first_line)?;
    let context = name(&document, "current-context").ok_or("it names no current-context")?;
    let cluster = entry(&mut document, "contexts", "context", &context)?
        .get("cluster")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("the context {context:?} names no cluster"))?
        .to_owned();

    let settings = entry(&mut document, "clusters", "cluster", &cluster)?;
    settings.insert("server".into(), format!("https://{door}").into());
    settings.remove("proxy-url");
    let verified = settings.get("insecure-skip-tls-verify") != Some(&Value::Bool(true));
    match (server_name, settings.get("tls-server-name")) {
        (Some(name), _) => drop(settings.insert("tls-server-name".into(), name.into())),
        (None, None) if verified => {
            settings.insert("tls-server-name".into(), SERVICE_NAME.into());
        }
        _ => {}
    }
    make_absolute(&mut document, path.parent().unwrap_or(Path::new("")))?;
    let text = serde_saphyr::to_string(&document).map_err(|error| error.to_string())?;
    // As a literal, since a name may hold whatever would end the comment.
    Ok(format!("{MARK} from {path:?}, and again when that changes\n{text}"))
}

/// Whether this is a text of [`through_balancer`].
pub(crate) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

fn name(document: &Value, key: &str) -> Option<String> {
    document.get(key)?.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// The settings under `kind` of the entry called `name` in the list `list`.
fn entry<'a>(
    document: &'a mut Value,
    list: &str,
    kind: &str,
    name: &str,
) -> Result<&'a mut Map<String, Value>, String> {
    let entries = document.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    let mut named = entries.filter(|it| it.get("name").and_then(Value::as_str) == Some(name));
    let found = named.next().and_then(|it| it.get_mut(kind)).and_then(Value::as_object_mut);
    found.ok_or_else(|| format!("there is no {kind} {name:?} in it"))
}

/// The fields that name files, relative to the kubeconfig's own directory.
const FILES: [(&str, &str, &[&str]); 2] = [
    ("clusters", "cluster", &["certificate-authority"]),
    ("users", "user", &["client-certificate", "client-key", "tokenFile"]),
];

fn make_absolute(document: &mut Value, folder: &Path) -> Result<(), String> {
    let folder = std::path::absolute(folder.join("."))
        .map_err(|error| format!("the working directory is not known: {error}"))?;
    for (list, kind, fields) in FILES {
        let entries = document.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for settings in entries.filter_map(|it| it.get_mut(kind)) {
            for field in fields {
                make_path_absolute(settings.get_mut(field), &folder);
            }
            // A bare name is looked for on PATH.
            let command = settings.get_mut("exec").and_then(|it| it.get_mut("command"));
            if command.as_ref().and_then(|it| it.as_str()).is_some_and(|it| it.contains('/')) {
                make_path_absolute(command, &folder);
            }
        }
    }
    Ok(())
}

fn make_path_absolute(field: Option<&mut Value>, folder: &Path) {
    if let Some(field) = field
        && let Some(path) = field.as_str().filter(|it| !it.is_empty())
    {
        *field = folder.join(path).display().to_string().into();
    }
}

#[cfg(test)]
mod tests;
