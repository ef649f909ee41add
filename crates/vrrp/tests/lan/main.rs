//! Several routers on one simulated network segment, in virtual time.
//!
//! [`lan::Lan`] runs them; `stories` tells what users care about, one event at a time, `pairs` of the
//! routers of both families that move together, and `random` looks for the sequence of events that
//! nobody thought of.

mod lan;
mod network;
mod node;
mod pairs;
mod random;
mod stories;
