//! Prints what is known of a cluster's apiservers, one JSON line whenever it changes.
//!
//! `cargo run -p backends --example watch -- KUBECONFIG [VIRTUAL-IP]...`

use std::io::stderr;
use std::path::PathBuf;

use backends::{Settings, check, spawn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(stderr).init();
    let mut arguments = std::env::args().skip(1);
    let kubeconfig = arguments.next().map(PathBuf::from);
    let virtual_addresses = arguments.map(|it| it.parse()).collect::<Result<_, _>>()?;
    let settings = Settings { kubeconfig, virtual_addresses, ..Settings::default() };

    let backends = spawn(check(&settings)?);
    let mut snapshots = backends.snapshots();
    loop {
        println!("{}", serde_json::to_string(&**snapshots.borrow_and_update())?);
        tokio::select! {
            changed = snapshots.changed() => changed?,
            end = tokio::signal::ctrl_c() => {
                end?;
                backends.stop().await;
                return Ok(());
            }
        }
    }
}
