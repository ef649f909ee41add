//! `cplb worker` in network namespaces: three controllers with stand-in apiservers and two workers,
//! told as stories. Needs root, openssl, kubectl and curl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod envoy;
mod konnectivity;
mod kubeconfigs;
mod learning;
mod losses;
mod pods;
mod readiness;
mod refusals;
mod reload;
