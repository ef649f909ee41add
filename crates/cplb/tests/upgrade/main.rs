//! Another process goes on in place of a controller: nothing moves and nobody notices, or nothing
//! has changed. In network namespaces; needs root. What is sent is what tcpdump on another host saw.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod killed;
mod load;
mod refused;
mod systemd;
mod unnoticed;
mod witnesses;
