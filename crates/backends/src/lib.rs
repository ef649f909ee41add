//! Who the apiservers are and which of them may be used: static list, disk cache, Kubernetes watch, health checks.
