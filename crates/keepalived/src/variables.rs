//! What templates can ask for: the names of k0s, and a few of our own.
//!
//! `VirtualIPs` of a VRRP instance are of one family, whatever the document says: keepalived would
//! drop those of the second. `ExcludedIPs` are the others.

use std::net::SocketAddr;
use std::time::Duration;

use gotmpl::{Value, tmap};
use vrrp::Version;

use crate::heirs;
use crate::settings::{Router, Settings, VirtualServer};

/// The name of the tracked file in keepalived's configuration.
pub(crate) const READINESS: &str = "cplb_readiness";

/// How much each step of the readiness file takes off the priority: one step halves it, as with
/// the built-in engine, two steps leave 1, keepalived's least. Never 0, which means FAULT.
pub(crate) fn weight(priority: u8) -> i64 {
    -i64::from(priority.div_ceil(2)).max(1)
}

/// The variables of the template for VRRP.
pub(crate) fn vrrp(settings: &Settings, program: &str) -> Value {
    let instances: Vec<Value> = settings.routers().iter().map(router).collect();
    let mut variables = common(settings, program);
    variables.push(("VRRPInstances", instances.into()));
    variables
        .push(("VirtualServers", servers(&settings.virtual_servers.iter().collect::<Vec<_>>())));
    variables.push(("RealServers", Value::List([].into())));
    variables.push(("Backends", Value::List([].into())));
    map(variables)
}

/// The variables of the template for virtual servers: `held` are those that this node balances.
pub(crate) fn virtual_servers(
    settings: &Settings,
    program: &str,
    held: &[&VirtualServer],
    real_servers: &[SocketAddr],
) -> Value {
    let addresses: Vec<String> =
        real_servers.iter().map(|server| server.ip().to_string()).collect();
    let backends: Vec<Value> = real_servers
        .iter()
        .map(|server| {
            tmap! {
                "Address" => server.ip().to_string(),
                "Port" => i64::from(server.port()),
                "IPv4" => server.is_ipv4(),
            }
        })
        .collect();
    let instances: Vec<Value> = settings.routers().iter().map(router).collect();
    let mut variables = common(settings, program);
    variables.push(("VRRPInstances", instances.into()));
    variables.push(("VirtualServers", servers(held)));
    variables.push(("RealServers", strings(&addresses)));
    variables.push(("Backends", backends.into()));
    map(variables)
}

fn common(settings: &Settings, program: &str) -> Vec<(&'static str, Value)> {
    // k0s puts both between single quotes.
    let escaped = |text: &str| Value::String(text.replace('\'', "\\'").into());
    vec![
        ("APIServerPort", Value::Int(settings.api_server_port.into())),
        ("IPVSLoadBalancer", Value::Bool(!settings.virtual_servers.is_empty())),
        ("K0sBin", escaped(program)),
        ("RunDir", escaped(&settings.run_dir.display().to_string())),
        ("ReadinessFile", Value::String(READINESS.into())),
    ]
}

fn router(router: &Router<'_>) -> Value {
    let instance = router.instance;
    let peers: Vec<String> = router.unicast_peers.iter().map(ToString::to_string).collect();
    let addresses: Vec<String> = router.addresses.iter().map(ToString::to_string).collect();
    let excluded: Vec<String> = router.excluded.iter().map(ToString::to_string).collect();
    tmap! {
        "Name" => instance.name.clone(),
        "Interface" => instance.interface.clone(),
        "Version" => if router.version == Version::V2 { 2_i64 } else { 3_i64 },
        "VirtualRouterID" => i64::from(instance.virtual_router_id),
        "Priority" => i64::from(instance.priority),
        "Weight" => weight(instance.priority),
        "RankFile" => heirs::file_name(&instance.name),
        "RankWeight" => heirs::weight(instance.priority),
        "Preempt" => instance.preempt,
        "AdvertInterval" => seconds(instance.advert_interval),
        // An integer in k0s; a fraction is rather kept than made 0.
        "AdvertIntervalSeconds" => number(instance.advert_interval),
        "AuthPass" => instance.auth_pass.clone(),
        "UnicastPeers" => peers,
        "UnicastSourceIP" => router.unicast_source.map(|it| it.to_string()).unwrap_or_default(),
        "AddressLabel" => i64::from(instance.address_label),
        "VirtualIPs" => addresses,
        "ExcludedIPs" => excluded,
    }
}

fn servers(servers: &[&VirtualServer]) -> Value {
    let server = |server: &&VirtualServer| {
        tmap! {
            "IPAddress" => server.address.to_string(),
            "IPv4" => server.address.is_ipv4(),
            "DelayLoop" => delay(server.delay_loop),
            "LBAlgo" => server.lb_algo.clone(),
            "LBKind" => server.lb_kind.clone(),
            "PersistenceTimeoutSeconds" => server.persistence_timeout.as_secs() as i64,
        }
    };
    servers.iter().map(server).collect::<Vec<Value>>().into()
}

/// What k0s' templates call as methods of Go's time.Duration.
fn delay(delay: Duration) -> Value {
    tmap! {
        "Seconds" => number(delay),
        "Minutes" => Value::Float(delay.as_secs_f64() / 60.0),
        "Hours" => Value::Float(delay.as_secs_f64() / 3_600.0),
        "Milliseconds" => Value::Int(delay.as_millis() as i64),
        "Microseconds" => Value::Int(delay.as_micros() as i64),
        "Nanoseconds" => Value::Int(delay.as_nanos() as i64),
    }
}

/// Seconds as keepalived reads them: "1", "0.1", "0.000001".
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn number(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => Value::Int(duration.as_secs() as i64),
        _ => Value::String(seconds(duration).into()),
    }
}

fn strings(texts: &[String]) -> Value {
    texts.iter().map(|text| Value::String(text.as_str().into())).collect::<Vec<_>>().into()
}

fn map(variables: Vec<(&'static str, Value)>) -> Value {
    Value::Map(std::sync::Arc::new(
        variables.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_with_as_many_decimals_as_they_need() {
        for (duration, text) in [
            (Duration::from_secs(60), "60"),
            (Duration::from_millis(100), "0.1"),
            (Duration::from_millis(2_050), "2.05"),
            (Duration::from_micros(1), "0.000001"),
        ] {
            assert_eq!(seconds(duration), text);
        }
    }

    /// keepalived adds value times weight and keeps to 1..=254; a weight of 0 would be FAULT.
    #[test]
    fn one_step_halves_the_priority_and_two_leave_the_least() {
        for (priority, unready) in [(200_i64, 100), (254, 127), (201, 100), (3, 1), (2, 1), (1, 0)]
        {
            let weight = weight(priority as u8);
            assert_eq!(priority + weight, unready);
            assert!(priority + 2 * weight <= 1);
        }
    }
}
