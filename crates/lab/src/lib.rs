//! A whole cluster on one machine: namespaces joined by a switch, stand-in apiservers, a client that measures, faults to inject.
