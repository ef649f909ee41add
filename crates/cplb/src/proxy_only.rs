use std::time::Duration;

use crate::cli;
use crate::error::Error;
use crate::signals::Signals;

/// Runs the TCP load balancer alone until it is told to stop.
pub(crate) fn run(arguments: &cli::Proxy) -> Result<(), Error> {
    let settings =
        proxy::Settings { listen: arguments.listen.clone(), ..proxy::Settings::default() };
    let proxy = proxy::Proxy::bind(settings)?.start_with(&arguments.backend)?;
    for address in proxy.listening() {
        tracing::info!(%address, backends = arguments.backend.len(), "balancing");
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Signals::listen()?.stop().await;
        Ok::<_, Error>(())
    })?;
    let drained = proxy.drain(Duration::from_secs(arguments.drain));
    tracing::info!(finished = drained.finished, reset = drained.reset, "connections drained");
    proxy.shutdown();
    Ok(())
}
