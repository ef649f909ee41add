//! Everything that asks the Linux kernel for something: addresses, firewall redirect, VRRP sockets, announcements, namespaces.
