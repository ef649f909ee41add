//! Nothing is left of a connection. Alone in its file: it counts the descriptors of the process.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use std::io::Write;
use std::net::Shutdown;

use common::{HELLO, answer, backend, connect, eventually, named, proxy, refused, reset};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thousand_connections_leave_no_descriptor() {
    let (alive, _) = named(b'a');
    let dying = backend(|mut client| {
        let _ = answer(&mut client);
        reset(client);
    });
    let bulk = vec![7; 1 << 20];
    let handle = proxy(&[alive, refused(), dying, alive]);
    let before = descriptors();
    for round in 0..1000 {
        let mut client = connect(&handle);
        match round % 5 {
            0 => reset(client),
            1 => drop(client),
            2 => {
                client.write_all(HELLO).unwrap();
                assert_eq!(answer(&mut client).unwrap(), b"a");
                reset(client);
            }
            3 => {
                client.write_all(HELLO).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(answer(&mut client).unwrap(), b"a");
            }
            // Plain bulk, cut off; it may meet the dying backend.
            _ => drop(client.write_all(&bulk[..if round % 50 == 4 { bulk.len() } else { 100 }])),
        }
    }
    eventually("all accepted", || handle.stats().accepted == 1000);
    eventually("all closed", || handle.stats().open == 0);
    eventually("as many descriptors as before", || descriptors() <= before);
    let stats = handle.stats();
    assert!(stats.backends.iter().all(|backend| backend.open == 0));
}
