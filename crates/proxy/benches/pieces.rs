//! What the inner pieces of the proxy cost, without sockets.

use criterion::{Criterion, criterion_group, criterion_main};

/// Captured from `openssl s_client -servername kubernetes`, OpenSSL 3.0.19.
const HELLO: &[u8] = include_bytes!("../tests/data/client-hello-openssl.bin");

fn pieces(criterion: &mut Criterion) {
    for (name, mut piece) in proxy::pieces::pieces(HELLO) {
        criterion.bench_function(name, |bencher| bencher.iter(&mut piece));
    }
}

criterion_group!(benches, pieces);
criterion_main!(benches);
