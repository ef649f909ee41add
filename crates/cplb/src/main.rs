//! `cplb`: the program.
fn main() {}
