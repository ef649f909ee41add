//! The daemon with IPVS: three controllers, their apiservers and a client, told as stories. Few kernels
//! that tests run on have IPVS: `scripts/vm/test` runs them in a virtual machine that has.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod absent;
mod builtin;
#[path = "../common/mod.rs"]
mod common;
mod keepalived;
mod migration;
mod nodes;
mod refusals;
mod seen;
