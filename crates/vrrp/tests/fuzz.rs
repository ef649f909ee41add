//! What the fuzzer runs, over its seeds and over some thousand random inputs.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../fuzz/src/advertisement.rs"]
mod advertisement;
#[path = "../fuzz/src/router.rs"]
mod router;

/// Runs the seeds of a target and tells how many there were.
fn seeds(target: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds = fs::read_dir(folder).expect("the folder of the seeds");
    let read = |seed: io::Result<DirEntry>| fs::read(seed?.path());
    seeds.map(|seed| run(&read(seed).expect("a seed"))).count()
}

#[test]
fn seeds_of_the_decoder() {
    assert_eq!(seeds("advertisement", advertisement::run), 6);
}

#[test]
fn seeds_of_the_state_machine() {
    assert_eq!(seeds("router", router::run), 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..Default::default() })]

    #[test]
    fn anything_to_the_decoder(bytes in vec(any::<u8>(), 0..80)) {
        advertisement::run(&bytes);
    }

    #[test]
    fn anything_to_the_state_machine(bytes in vec(any::<u8>(), 0..400)) {
        router::run(&bytes);
    }
}
