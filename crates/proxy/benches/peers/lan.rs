use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use kernel::address::VirtualAddress;
use kernel::netns::{Namespace, add_address, create_veth, set_up};

use crate::error::Error;

/// Where the proxy listens.
pub(crate) const PROXY: SocketAddr = address([10, 1, 0, 1], 6443);

/// Where a proxy listens that has other settings for bulk.
pub(crate) const SPLICED: SocketAddr = address([10, 1, 0, 1], 6444);

/// Where the two backends listen.
pub(crate) const BACKENDS: [SocketAddr; 2] =
    [address([10, 2, 0, 2], 6443), address([10, 2, 0, 3], 6443)];

/// Client, proxy and backends in a namespace each, with a virtual cable between neighbours.
pub(crate) struct Lan {
    pub(crate) client: Namespace,
    pub(crate) proxy: Namespace,
    pub(crate) backend: Namespace,
}

impl Lan {
    /// Lays the cables.
    pub(crate) fn build() -> Result<Self, Error> {
        let lan = Self {
            client: Namespace::new()?,
            proxy: Namespace::new()?,
            backend: Namespace::new()?,
        };
        lan.proxy.run(|| {
            create_veth("client", "proxy", &lan.client)?;
            create_veth("backend", "proxy", &lan.backend)?;
            plug("client", [10, 1, 0, 1])?;
            plug("backend", [10, 2, 0, 1])?;
            set_up_tcp()
        })??;
        lan.client.run(|| {
            plug("proxy", [10, 1, 0, 2])?;
            set_up_tcp()
        })??;
        lan.backend.run(|| {
            plug("proxy", [10, 2, 0, 2])?;
            plug("proxy", [10, 2, 0, 3])?;
            set_up_tcp()
        })??;
        Ok(lan)
    }
}

const fn address([a, b, c, d]: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

fn plug(interface: &str, address: [u8; 4]) -> Result<(), Error> {
    set_up(interface)?;
    let address = VirtualAddress { address: Ipv4Addr::from(address).into(), prefix_length: 24 };
    Ok(add_address(interface, &address)?)
}

/// Ports for tens of thousands of short connections, whose closed ones are waited for. Reno, as every
/// namespace may use it; without losses it does what Linux does by default (cubic), and unlike BBR it
/// does not pace.
fn set_up_tcp() -> Result<(), Error> {
    let settings = [
        ("tcp_congestion_control", "reno"),
        ("ip_local_port_range", "1025 65535"),
        ("tcp_tw_reuse", "1"),
    ];
    for (name, value) in settings {
        fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
            .map_err(Error::system("a setting of TCP"))?;
    }
    Ok(())
}
