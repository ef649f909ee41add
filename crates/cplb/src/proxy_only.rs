use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli;
use crate::error::Error;

/// Runs the TCP load balancer alone until it is told to stop.
pub(crate) fn run(arguments: &cli::Proxy) -> Result<(), Error> {
    let settings =
        proxy::Settings { listen: arguments.listen.clone(), ..proxy::Settings::default() };
    let proxy = proxy::Proxy::bind(settings)?.start()?;
    proxy.set_backends(arguments.backend.clone());
    for address in proxy.listening() {
        tracing::info!(%address, backends = arguments.backend.len(), "balancing");
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok::<_, Error>(())
    })?;
    proxy.stop_accepting();
    let drained = proxy.drain(Duration::from_secs(arguments.drain));
    tracing::info!(finished = drained.finished, reset = drained.reset, "connections drained");
    proxy.shutdown();
    Ok(())
}
