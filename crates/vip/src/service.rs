use std::net::IpAddr;

/// What is served on the virtual addresses. Called on real-time threads: must not block for long.
pub trait Service: Send + Sync {
    /// Whether the service proved alive just now. While it does not, the addresses are not renewed
    /// and vanish within seconds.
    fn alive(&self) -> bool;

    /// The addresses are about to come to this node: what serves them here has to be there first.
    fn claimed(&self, _addresses: &[IpAddr]) {}

    /// The addresses are about to leave this node: ends the connections to them, so that clients
    /// reconnect at once instead of talking to nobody.
    fn released(&self, addresses: &[IpAddr]);
}
