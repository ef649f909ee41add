//! The Virtual Router Redundancy Protocol: wire format and state machine, in virtual time.
