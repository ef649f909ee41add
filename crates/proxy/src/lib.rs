//! The TCP reverse proxy: accept, choose a backend, connect, move bytes, drain.
