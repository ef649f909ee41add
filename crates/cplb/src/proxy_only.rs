use std::time::Duration;

use crate::cli;
use crate::error::Error;
use crate::signals::Signals;

/// Runs the TCP load balancer alone until it is told to stop.
pub(crate) fn run(arguments: &cli::Proxy) -> Result<(), Error> {
    let settings = settings(arguments);
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

fn settings(arguments: &cli::Proxy) -> proxy::Settings {
    proxy::Settings {
        listen: arguments.listen.clone(),
        choice: match arguments.balance {
            cli::Balance::RoundRobin => proxy::Choice::RoundRobin,
            cli::Balance::LeastConnections => proxy::Choice::LeastConnections,
        },
        proxy_protocol: arguments.proxy_protocol.map(|version| match version {
            cli::ProxyProtocol::V1 => proxy::ProxyProtocol::V1,
            cli::ProxyProtocol::V2 => proxy::ProxyProtocol::V2,
        }),
        max_connections: arguments.max_connections as usize,
        max_connections_per_source: arguments.max_connections_per_source.map(|it| it as usize),
        allowed_sources: arguments.allow_from.clone(),
        ..proxy::Settings::default()
    }
}
