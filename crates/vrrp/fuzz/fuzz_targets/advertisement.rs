#![no_main]

#[path = "../src/advertisement.rs"]
mod advertisement;

libfuzzer_sys::fuzz_target!(|data: &[u8]| advertisement::run(data));
