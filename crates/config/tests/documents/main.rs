//! Documents in, findings and settings out: one minimal document for every rule.

mod control_plane;
mod examples;
mod instance;
mod load_balancer;
mod node_local;
mod random;
mod shapes;
mod together;

use config::{Loaded, Settings, load};

/// Loads the text and compares the first line of every finding, all of them and in order.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let Loaded { settings, findings } = load("k0s.yaml", text);
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let found: Vec<&str> = found.iter().filter_map(|finding| finding.lines().next()).collect();
    assert_eq!(found, expected, "of this document:\n{text}");
    assert!(findings.iter().all(|finding| finding.hint.is_some()), "a finding without hint");
    let refused = expected.iter().any(|line| line.contains(": error: "));
    assert_eq!(settings.is_none(), refused, "settings of this document:\n{text}");
}

/// Loads a text in which nothing is wrong.
#[track_caller]
fn accept(text: &str) -> Settings {
    check(text, &[]);
    load("k0s.yaml", text).settings.expect("there were no errors")
}

/// A document with a control plane block of these fields, the first in line 4, column 7.
fn control_plane(fields: &str) -> String {
    let fields = fields.replace('\n', "\n      ");
    format!("spec:\n  network:\n    controlPlaneLoadBalancing:\n      {fields}\n")
}

/// A document with one VRRP instance of these fields, the first in line 6, column 11.
fn instance(fields: &str) -> String {
    let fields = fields.replace('\n', "\n    ");
    control_plane(&format!("keepalived:\n  vrrpInstances:\n  - {fields}"))
}

/// Checks that each of these fields gives its one finding.
#[track_caller]
fn check_each(document: fn(&str) -> String, cases: &[(&str, &str)]) {
    for (field, expected) in cases {
        check(&document(field), &[&format!("k0s.yaml:{expected}")]);
    }
}
