//! Whether an apiserver can be reached, asked once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::checker::probe;
use crate::health::Outcome;
use crate::tls;

/// Asks for `/readyz` at `address`, which may be a balancer's, for no longer than `timeout`. Any
/// answer will do, also that the apiserver is not ready: it is reached then.
///
/// # Errors
/// Why there is no answer.
pub async fn reach(address: SocketAddr, timeout: Duration) -> Result<(), String> {
    match probe::answer(address, Arc::new(tls::anonymous()), timeout).await {
        Ok(_) => Ok(()),
        Err(Outcome::Absent(reason) | Outcome::Silent(reason) | Outcome::NotReady(reason)) => {
            Err(reason)
        }
        // What answers says that it is ready by an answer.
        Err(Outcome::Ready(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Apiserver, Cluster, State};

    const TIMEOUT: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn any_answer_will_do() {
        for status in [200, 401, 403, 500] {
            let state = State { readyz: (status, "text"), ..State::default() };
            let server = Apiserver::start(&Cluster::new(), state).await;
            assert_eq!(reach(server.address, TIMEOUT).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn silence_and_refusal_are_none() {
        let state = State { frozen: true, ..State::default() };
        let server = Apiserver::start(&Cluster::new(), state).await;
        let hung = "no answer within 500 ms: the TLS handshake hangs";
        assert_eq!(reach(server.address, TIMEOUT).await, Err(hung.into()));
        let address = server.address;
        server.kill().await;
        assert_eq!(reach(address, TIMEOUT).await, Err("connection refused".into()));
    }
}
