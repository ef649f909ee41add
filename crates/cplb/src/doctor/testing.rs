//! What the checks are tested on: keepalived's packets and a router that expects them.

use std::net::IpAddr;
use std::time::Duration;

use kernel::link::{Link, Mac};
use vrrp::{Authentication, Version};

use super::target::{Agreed, Router, Target};
use crate::scan::{Packet, Speaker, Speakers};

/// Captured from keepalived 2.2.7: version 2, PASS secret12, router 51, priority 100, 1 s,
/// 10.5.0.100.
pub(crate) const V2: &str = "21336401010101e30a0500647365637265743132";
/// From 10.5.0.1, version 3, router 51, priority 100, 1 s, 10.5.0.100.
pub(crate) const V3: &str = "31336401006475690a050064";

/// The router of [`V2`].
pub(crate) fn router() -> Router {
    Router {
        link: Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            up: true,
            mtu: 1500,
            kind: None,
            master: None,
            lower: None,
        },
        id: 51,
        version: Version::V2,
        addresses: vec!["10.5.0.100/24".parse().unwrap()],
        agreed: Some(Agreed {
            interval: Duration::from_secs(1),
            authentication: Authentication::password("secret12"),
        }),
    }
}

/// That router alone, beside an apiserver on this host.
pub(crate) fn target() -> Target {
    Target {
        routers: vec![router()],
        apiserver: "127.0.0.1:6443".parse().unwrap(),
        proxy_port: Some(6444),
        ipvs: false,
    }
}

/// Somebody who was heard to say this as often, a second apart, on eth0 to the group.
pub(crate) fn speaker(source: &str, message: &str, packets: u64) -> Speaker {
    let message = bytes(message);
    let source: IpAddr = source.parse().unwrap();
    let mut speakers = Speakers::default();
    for second in 0..packets {
        let packet = Packet {
            interface: "eth0",
            source,
            destination: "224.0.0.18".parse().unwrap(),
            hop_limit: 255,
            message: &message,
        };
        speakers.hear(Duration::from_secs(second), packet);
    }
    speakers.into_list().remove(0)
}

/// Bytes from hexadecimal digits.
pub(crate) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(digits).collect()
}
