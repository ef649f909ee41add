//! The JSON bodies of the stand-in: objects, lists, tables and statuses as kube-apiserver writes them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::store::Revision;

/// A resource the stand-in serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Endpoints,
    EndpointSlices,
}

/// How the client wants objects: as they are, or as the table that kubectl prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    Table,
}

impl Resource {
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::EndpointSlices => "endpointslices",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Endpoints => "Endpoints",
            Self::EndpointSlices => "EndpointSlice",
        }
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::Endpoints => "v1",
            Self::EndpointSlices => "discovery.k8s.io/v1",
        }
    }

    /// The one object of this resource: `default/kubernetes`.
    pub(super) fn object(self, revision: &Revision) -> Value {
        match self {
            Self::Endpoints => endpoints(revision),
            Self::EndpointSlices => endpoint_slice(revision),
        }
    }

    pub(super) fn shown(self, revision: &Revision, form: Form) -> Value {
        match form {
            Form::Object => self.object(revision),
            Form::Table => self.table(Some(revision), revision.number),
        }
    }

    pub(super) fn list(self, revision: Option<&Revision>, number: u64, form: Form) -> Value {
        if form == Form::Table {
            return self.table(revision, number);
        }
        let items: Vec<Value> =
            revision.into_iter().map(|revision| self.object(revision)).collect();
        json!({
            "kind": format!("{}List", self.kind()),
            "apiVersion": self.api_version(),
            "metadata": { "resourceVersion": number.to_string() },
            "items": items,
        })
    }

    /// A watch's mark of how far it has come, so that the client may resume from there.
    pub(super) fn bookmark(self, number: u64) -> Value {
        json!({
            "kind": self.kind(),
            "apiVersion": self.api_version(),
            "metadata": { "resourceVersion": number.to_string() },
        })
    }

    fn table(self, revision: Option<&Revision>, number: u64) -> Value {
        let columns: &[&str] = match self {
            Self::Endpoints => &["Name", "Endpoints", "Age"],
            Self::EndpointSlices => &["Name", "AddressType", "Ports", "Endpoints", "Age"],
        };
        let columns: Vec<Value> = columns
            .iter()
            .map(|name| {
                let format = if *name == "Name" { "name" } else { "" };
                json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 })
            })
            .collect();
        let rows: Vec<Value> = revision
            .into_iter()
            .map(|revision| {
                json!({
                    "cells": self.cells(revision),
                    "object": {
                        "kind": "PartialObjectMetadata",
                        "apiVersion": "meta.k8s.io/v1",
                        "metadata": metadata(revision),
                    },
                })
            })
            .collect();
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": { "resourceVersion": number.to_string() },
            "columnDefinitions": columns,
            "rows": rows,
        })
    }

    fn cells(self, revision: &Revision) -> Vec<String> {
        let joined = |parts: Vec<String>| {
            if parts.is_empty() { "<none>".to_owned() } else { parts.join(",") }
        };
        let age = age(revision);
        match self {
            Self::Endpoints => {
                let sockets = revision.endpoints.iter().map(ToString::to_string).collect();
                vec!["kubernetes".to_owned(), joined(sockets), age]
            }
            Self::EndpointSlices => {
                let (addresses, port) = of_one_port(revision);
                let port = port.map_or_else(|| "<unset>".to_owned(), |port| port.to_string());
                let kind = address_type(&addresses).to_owned();
                let addresses = addresses.iter().map(ToString::to_string).collect();
                vec!["kubernetes".to_owned(), kind, port, joined(addresses), age]
            }
        }
    }
}

/// A `Status` failure.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {},
        "code": code,
    })
}

pub(super) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": "v1.36.0+cplb.lab",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", std::env::consts::ARCH),
    })
}

pub(super) fn core_versions() -> Value {
    json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
}

pub(super) fn groups(slices: bool) -> Value {
    let version = json!({ "groupVersion": "discovery.k8s.io/v1", "version": "v1" });
    let discovery =
        json!({ "name": "discovery.k8s.io", "versions": [version], "preferredVersion": version });
    let groups = if slices { vec![discovery] } else { vec![] };
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

pub(super) fn resources(resource: Resource) -> Value {
    let short_names = if resource == Resource::Endpoints { vec!["ep"] } else { vec![] };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": resource.api_version(),
        "resources": [{
            "name": resource.plural(),
            "singularName": resource.kind().to_lowercase(),
            "namespaced": true,
            "kind": resource.kind(),
            "verbs": ["get", "list", "watch"],
            "shortNames": short_names,
        }],
    })
}

/// A document as large as kube-apiserver's: JSON without any path, and much white space after it.
pub(super) static OPENAPI: [u8; 1 << 20] = {
    let document =
        br#"{"swagger":"2.0","info":{"title":"Kubernetes","version":"v1.36.0"},"paths":{}}"#;
    let mut padded = [b' '; 1 << 20];
    padded.split_at_mut(document.len()).0.copy_from_slice(document);
    padded
};

fn endpoints(revision: &Revision) -> Value {
    let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
    for endpoint in &revision.endpoints {
        by_port.entry(endpoint.port()).or_default().push(endpoint.ip());
    }
    let subsets: Vec<Value> = by_port
        .into_iter()
        .map(|(port, addresses)| {
            let addresses: Vec<Value> =
                addresses.into_iter().map(|address| json!({ "ip": address })).collect();
            json!({
                "addresses": addresses,
                "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
            })
        })
        .collect();
    json!({
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": metadata(revision),
        "subsets": subsets,
    })
}

fn endpoint_slice(revision: &Revision) -> Value {
    let (addresses, port) = of_one_port(revision);
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({ "addresses": [address], "conditions": { "ready": true } }))
        .collect();
    let ports: Vec<Value> = port
        .into_iter()
        .map(|port| json!({ "name": "https", "port": port, "protocol": "TCP" }))
        .collect();
    json!({
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": metadata(revision),
        "addressType": address_type(&addresses),
        "endpoints": endpoints,
        "ports": ports,
    })
}

fn metadata(revision: &Revision) -> Value {
    json!({
        "name": "kubernetes",
        "namespace": "default",
        "uid": "6b75626e-6574-4573-8000-000000000001",
        "resourceVersion": revision.number.to_string(),
        "creationTimestamp": created(revision).to_string(),
        "labels": { "kubernetes.io/service-name": "kubernetes" },
    })
}

/// A slice has one port and one family: those of its first endpoint.
fn of_one_port(revision: &Revision) -> (Vec<IpAddr>, Option<u16>) {
    let Some(first) = revision.endpoints.first() else { return (Vec::new(), None) };
    let alike = revision.endpoints.iter().filter(|endpoint| {
        endpoint.port() == first.port() && endpoint.is_ipv4() == first.is_ipv4()
    });
    (alike.map(std::net::SocketAddr::ip).collect(), Some(first.port()))
}

fn address_type(addresses: &[IpAddr]) -> &'static str {
    if addresses.first().is_some_and(IpAddr::is_ipv6) { "IPv6" } else { "IPv4" }
}

fn created(revision: &Revision) -> Timestamp {
    i64::try_from(revision.created)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or_default()
}

fn age(revision: &Revision) -> String {
    format!("{}s", Timestamp::now().duration_since(created(revision)).as_secs())
}
