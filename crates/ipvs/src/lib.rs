//! Load balancing by the kernel: IPVS services on virtual addresses, for as long as these are held
//! here.
//!
//! Every control plane node runs a [`Handle`] with the same [`Settings`]. All of them carry the
//! virtual addresses on the link [`LINK`], so that they accept what a director sends them; only the
//! one that holds an address has the service on it. With direct routing, two nodes with services
//! would send packets in a circle.
//!
//! # Connections across a take-over
//!
//! The schedulers that hash (sh, mh, dh) choose the same real server on every node, as long as all
//! know the same real servers: an established connection then lives on with the next director
//! (direct routing and tunnel; with NAT the answers still go to the last one). For that the
//! parameter `net.ipv4.vs.sloppy_tcp` lets a connection begin with any packet, and the real servers
//! are in the same order everywhere. With the other schedulers the connection is reset by a real
//! server that does not know it, so that the client begins anew at once.
//!
//! # Connections of this machine itself
//!
//! A program on a node that does not hold the address reaches the apiserver of its own node. On
//! the node that does, IPVS balances it, and by direct routing or a tunnel the other real servers
//! cannot answer: the connection's source is the virtual address, which is theirs as well. So
//! connections of the machine itself have to be led elsewhere before IPVS sees them, by a redirect
//! in the firewall's output chain.

mod changes;
mod director;
mod environment;
mod error;
mod handle;
mod overview;
mod real_servers;
mod settings;
mod state;

pub use kernel::ipvs::Forwarding;

pub use self::director::{Director, Installed, remove_leftovers};
pub use self::environment::LINK;
pub use self::error::Error;
pub use self::handle::Handle;
pub use self::overview::Overview;
pub use self::real_servers::{LeftOut, Unusable};
pub use self::settings::{Scheduler, Settings, VirtualServer};
