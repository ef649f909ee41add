//! Several routers on one simulated network segment, in virtual time.
//!
//! [`lan::Lan`] runs them; `stories` tells what users care about, one event at a time, and `random`
//! looks for the sequence of events that nobody thought of.

mod lan;
mod network;
mod node;
mod random;
mod stories;
