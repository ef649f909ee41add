use std::process::ExitCode;

use config::{ControlPlaneLoadBalancing, Settings};

use crate::cli;
use crate::document;

/// Exit code 1 if any of the files cannot be used.
pub(crate) fn run(arguments: &cli::Validate) -> ExitCode {
    let mut usable = true;
    for path in &arguments.config {
        match document::validate(path) {
            Ok(loaded) => match &loaded.settings {
                Some(settings) => println!("{}: valid, {}", path.display(), summary(settings)),
                None => {
                    println!("{}: not usable", path.display());
                    usable = false;
                }
            },
            Err(error) => {
                eprintln!("cplb: {error}");
                usable = false;
            }
        }
    }
    if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a reader wants to see confirmed.
fn summary(settings: &Settings) -> String {
    let control_plane = match &settings.control_plane_load_balancing {
        Some(cplb) if cplb.enabled => describe(cplb, settings.api.port),
        _ => "control plane load balancing is off".into(),
    };
    match &settings.node_local_load_balancing {
        Some(nllb) if nllb.enabled => {
            format!("{control_plane}; node-local load balancing by {:?}", nllb.kind)
        }
        _ => control_plane,
    }
}

fn describe(cplb: &ControlPlaneLoadBalancing, port: u16) -> String {
    let addresses: Vec<String> = cplb
        .vrrp_instances
        .iter()
        .flat_map(|instance| &instance.virtual_ips)
        .map(ToString::to_string)
        .collect();
    let balancer = if cplb.disable_load_balancer {
        "no load balancer".into()
    } else if cplb.virtual_servers.is_empty() {
        let extra = cplb.load_balancer.extra_ports.iter();
        let extra = extra.map(|it| format!(", port {} on {}", it.port, it.listen_port));
        let bound = cplb.user_space_proxy_bind_port;
        format!("port {port} balanced by the proxy on {bound}{}", extra.collect::<String>())
    } else {
        format!("port {port} balanced by IPVS")
    };
    format!("virtual IP {}, {balancer}", addresses.join(", "))
}
