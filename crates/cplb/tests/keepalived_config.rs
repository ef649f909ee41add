//! The keepalived templates that the program prints.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

fn printed(template: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cplb"));
    let output = command.args(["keepalived-config", template]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_templates_are_printed_as_they_are_used() {
    assert_eq!(printed("vrrp"), keepalived::VRRP_TEMPLATE);
    assert_eq!(printed("virtualservers"), keepalived::VIRTUAL_SERVERS_TEMPLATE);
    assert!(printed("vrrp").contains("\nvrrp_instance {{ .Name }} {\n"));
    assert!(printed("virtualservers").contains("\nvirtual_server {{ .IPAddress }} "));
}

/// Such as k0s' template writes it into keepalived's configuration.
#[test]
fn the_call_in_templates_of_k0s_is_understood() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cplb"));
    command.args(["keepalived-setstate", "-r", "/run/cplb", "-s", "MASTER"]);
    assert!(command.status().unwrap().success());
}
