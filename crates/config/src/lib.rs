//! k0s and k0sctl documents read into checked settings, every finding with its position.
//!
//! [`load`] reads the text of a document and never touches the machine: interfaces stay unresolved,
//! other files unread. It finds every error at once.
//!
//! ```text
//!   text ── node ──▶ tree with positions ── document ──▶ the sections of the one k0s configuration
//!        ── api, cplb, nllb ──▶ Settings ── cross, ports ──▶ do they agree?
//!   every step ── report ──▶ Findings ── render ──▶ text with source lines
//! ```

mod api;
mod cplb;
mod cross;
mod document;
mod duration;
mod extra_port;
mod finding;
mod interface;
mod load_balancer;
mod nllb;
mod node;
mod ports;
mod reader;
mod render;
mod report;
mod secrets;
mod settings;
mod virtual_ip;
mod virtual_server;
mod vrrp_instance;

pub use finding::{Finding, Position, Severity};
pub use render::render;
pub use settings::{
    Api, Balance, BindPorts, Checksum, Cidr, ControlPlaneKind, ControlPlaneLoadBalancing,
    ExtraPort, HealthCheck, Image, ImagePullPolicy, Interface, Konnectivity, LbAlgo, LbKind,
    LoadBalancer, NodeLocalKind, NodeLocalLoadBalancing, PortCheck, ProxyPod, Redirect, Settings,
    VirtualServer, VrrpInstance, VrrpVersion,
};

use document::Document;
use reader::Field;
use report::{Place, Report};

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The settings; absent exactly when any of the findings is an error.
    pub settings: Option<Settings>,
    /// Errors and warnings in the order of the file.
    pub findings: Vec<Finding>,
}

/// Reads `text`, the contents of `file`; the name only serves the findings.
#[must_use]
pub fn load(file: &str, text: &str) -> Loaded {
    let mut report = Report::new(file);
    let settings = read(text, &mut report);
    let findings = report.into_findings();
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    Loaded { settings: settings.filter(|_| !refused), findings }
}

/// Absent only once an error says why.
fn read(text: &str, report: &mut Report) -> Option<Settings> {
    let nodes = match node::parse(text) {
        Ok(nodes) => nodes,
        Err(error) => {
            let place = Place { position: error.position, path: String::new() };
            report.error(
                &place,
                error.message,
                "this is not YAML: look for indentation, quotes and brackets here and just above",
            );
            return None;
        }
    };
    let document = document::find(&nodes, report)?;
    Some(read_settings(&document, report))
}

fn read_settings(document: &Document<'_>, report: &mut Report) -> Settings {
    let images = nllb::Images::read(document.images.as_ref());
    let block = |name, report: &mut Report| {
        document.network.as_ref().and_then(|network| network.read(name, report, Field::mapping))
    };
    let cplb = block("controlPlaneLoadBalancing", report).map(|block| cplb::read(&block, report));
    let nllb =
        block("nodeLocalLoadBalancing", report).map(|block| nllb::read(&block, images, report));
    let (cplb, cplb_places) = cplb.unzip();
    let (nllb, nllb_places) = nllb.unzip();

    let api = document.api.as_ref().map(|block| api::read(block, report));
    let konnectivity = document.konnectivity.as_ref();
    let settings = Settings {
        api: api.unwrap_or_default(),
        konnectivity: konnectivity
            .map(|block| api::read_konnectivity(block, report))
            .unwrap_or_default(),
        control_plane_load_balancing: cplb,
        node_local_load_balancing: nllb,
    };
    let draft = cross::Draft {
        document,
        settings: &settings,
        cplb: cplb_places.as_ref(),
        nllb: nllb_places.as_ref(),
    };
    cross::check(&draft, report);
    settings
}
