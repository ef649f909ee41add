use crate::{load, render};

fn shown(text: &str) -> String {
    render(&load("k0s.yaml", text).findings, text, false)
}

#[test]
fn a_caret_under_the_value() {
    assert_eq!(
        shown("spec:\n  api:\n    port: 70000 # ä\n"),
        "k0s.yaml:3:11: error: port 70000 is out of range: 1 to 65535\n\
         \x20 3 |     port: 70000 # ä\n\
         \x20   |           ^\n\
         \x20 hint: choose a value within, or leave the field out for its default\n"
    );
}

#[test]
fn colours_on_request() {
    let text = "spec: {api: {port: 70000}}";
    let coloured = render(&load("k0s.yaml", text).findings, text, true);
    assert_eq!(
        coloured.lines().next(),
        Some(
            "\x1b[1mk0s.yaml:1:20\x1b[0m: \x1b[1;31merror\x1b[0m: \x1b[1mport 70000 is out of range: 1 to 65535\x1b[0m"
        )
    );
    assert!(!render(&load("k0s.yaml", text).findings, text, false).contains('\x1b'));
}

#[test]
fn nothing_to_show_of_an_empty_text() {
    let lines: Vec<_> =
        shown("").lines().map(|line| line.split(": ").next().unwrap_or("").to_owned()).collect();
    assert_eq!(lines, ["k0s.yaml:1:1", "  hint"]);
}

#[test]
fn long_lines_are_cut_around_the_finding() {
    let text = format!("spec: {{x: {}, api: {{port: 70000}}}}", "y".repeat(500));
    let shown = shown(&text);
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[1].ends_with("y, api: {port: 70000}}"), "{shown}");
    assert_eq!(lines[1].find("70000"), lines[2].find('^'), "{shown}");
}

#[test]
fn nothing_steers_the_terminal() {
    let shown = shown("spec:\n  api: {port: \"\\e[2J\", \u{1b}[2J: 5}\n");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

/// Each document has a finding in the line of the secret.
#[test]
fn secrets_are_masked() {
    let block = "spec:\n  network:\n    controlPlaneLoadBalancing:\n      keepalived:\n        vrrpInstances:\n";
    for instance in [
        "- {virtualIPs: [10.0.0.1], authPass: hunter2}",
        "- authPass: hunter2 too long",
        "- authPass: \"hunter2 \\t too long\"",
        "- authPass:\n    hunter2 too long",
        "- authPass: >-\n    hunter2\n    too long",
        "- authPass: [hunter2]",
        "- authPas: hunter2",
        "- auth_pass: hunter2",
        "- password: hunter2",
        "- AUTHPASS: hunter2",
        "- authPass hunter2",
        "- 'authPass: hunter2'",
        "- interface: a b # authPass: hunter2",
        "- authPass: \"hunter2",
        "- authPass:\n    \"hunter2",
        "- authPass: hunter2: x",
    ] {
        let text = format!("{block}        {}\n", instance.replace('\n', "\n        "));
        let shown = shown(&text);
        assert!(shown.contains("**"), "{instance} has no finding in its line:\n{shown}");
        assert!(!shown.contains("hunter"), "{instance}:\n{shown}");
    }
}

#[test]
fn a_secret_is_masked_at_its_anchor() {
    let text = "x: &p hunter2 too long\nspec: {network: {controlPlaneLoadBalancing: {keepalived: {vrrpInstances: \
                [{virtualIPs: [10.0.0.1/24], authPass: *p}]}}}}";
    assert_eq!(shown(text).lines().nth(1), Some("  1 | x: &p ******* *** ****"));
}

#[test]
fn what_stands_beside_a_secret_is_shown() {
    let text = "spec: {network: {controlPlaneLoadBalancing: {keepalived: {vrrpInstances: [{virtualIPs: [10.0.0.1/24], \
                authPass: hunter2, priority: 0}]}}}}";
    assert!(shown(text).contains("authPass: *******, priority: 0}"), "{}", shown(text));
}

/// A misplaced quote makes a value of a whole part of the document.
#[test]
fn a_secret_within_a_value_is_cut_off() {
    let text = "spec:\n  network:\n    controlPlaneLoadBalancing:\n      type: \"Keepalived\n      authPass: hunter2\"\n";
    let shown = shown(text);
    assert!(
        shown.contains("type \"Keepalived authPass\"… is none of Keepalived, Builtin"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
