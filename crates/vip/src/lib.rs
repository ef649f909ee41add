//! Virtual IPs on this machine: the real-time thread that drives vrrp against the kernel.
