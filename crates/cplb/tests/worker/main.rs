//! `cplb worker` in network namespaces: three controllers with stand-in apiservers and two workers,
//! told as stories. Needs root, openssl, kubectl and curl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../kubernetes/binary.rs"]
mod binary;
mod cleanup;
mod cluster;
mod container;
mod doctor;
mod envoy;
mod konnectivity;
mod kubeconfigs;
mod kubelet;
#[path = "../kubernetes/launch.rs"]
mod launch;
mod learning;
mod losses;
mod pods;
mod readiness;
mod real;
mod refusals;
mod reload;
mod switching;
mod together;
mod traefik;
mod upgrade;
