//! `cplb controller` on three nodes, each beside a real kube-apiserver, with one etcd behind them: one cluster, and
//! what happens to it, told in order. Needs root, etcd, kubectl, openssl, and a kube-apiserver (see [`binary`]).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apiservers;
mod binary;
mod cluster;
mod datastore;
mod holder;
mod kubectl;
mod launch;
mod serving;
mod status;
mod story;

use story::Story;

/// One test, since three kube-apiservers take a gigabyte and a quarter of a minute to start.
#[test]
fn three_controllers_with_real_apiservers() {
    let Some(kube_apiserver) = binary::kube_apiserver() else {
        println!("skipped: set {}=FILE to a kube-apiserver, plain or .xz", binary::VARIABLE);
        return;
    };
    let mut story = Story::begin(&kube_apiserver);

    story.chapter("apiservers are found and shared evenly", serving::found_and_shared);
    story.chapter("kubectl works through the virtual IP", serving::kubectl_works);

    story.begin_requests();
    story.chapter("an apiserver is killed", apiservers::killed);
    story.chapter("an apiserver hangs", apiservers::hung);
    story.chapter("an apiserver is stopped as planned", apiservers::stopped);
    story.chapter("the holder is stopped as planned", holder::stopped);
    story.chapter("the holder is killed", holder::killed);
    story.chapter("etcd hangs", datastore::hung);
}
