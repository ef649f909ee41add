use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use vrrp::Version;

use crate::error::Error;
use crate::files::Files;
use crate::heirs;
use crate::outline::{Outline, outline, track_readiness};
use crate::quote::{objection, quote};
use crate::settings::{Settings, VirtualServer};
use crate::template::render;
use crate::variables::{self, READINESS};

/// The built-in Go template of the VRRP instances.
pub const VRRP_TEMPLATE: &str = include_str!("templates/vrrp.conf");

/// The built-in Go template of the virtual servers.
pub const VIRTUAL_SERVERS_TEMPLATE: &str = include_str!("templates/virtualservers.conf");

/// Everything keepalived reads, rendered but for what changes as it runs.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// keepalived.conf.
    pub(crate) main: String,
    /// The VRRP instances in it.
    pub(crate) outlines: Vec<Outline>,
    virtual_servers: Source,
    /// This program, for k0s' templates.
    program: String,
}

/// A template with the name that its errors carry.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
}

impl Configuration {
    /// Reads the templates and fills them in.
    pub(crate) fn new(settings: &Settings, version: [u32; 3]) -> Result<Self, Error> {
        check_words(settings)?;
        let vrrp = Source::read(settings.vrrp_template.as_deref(), "vrrp", VRRP_TEMPLATE)?;
        let virtual_servers = Source::read(
            settings.virtual_servers_template.as_deref(),
            "virtualservers",
            VIRTUAL_SERVERS_TEMPLATE,
        )?;
        let program = std::env::current_exe().unwrap_or_default().display().to_string();
        let rendered = render(&vrrp.name, &vrrp.text, &variables::vrrp(settings, &program))?;
        let instances = track_readiness(&rendered);
        let main = preamble(settings, version, &instances) + &instances;
        let outlines = outline(&main, default_version(settings));
        check_second_family(settings, &outlines, &vrrp.name)?;
        Ok(Self { main, outlines, virtual_servers, program })
    }

    /// keepalived-virtualservers-generated.conf: of the virtual servers, those whose address `holds`.
    ///
    /// One that is no virtual address of ours is everybody's.
    pub(crate) fn virtual_servers(
        &self,
        settings: &Settings,
        real_servers: &[SocketAddr],
        holds: impl Fn(IpAddr) -> bool,
    ) -> Result<String, Error> {
        let ours = |address: IpAddr| {
            self.outlines.iter().flat_map(|it| &it.addresses).any(|it| it.address == address)
        };
        let held: Vec<&VirtualServer> = settings
            .virtual_servers
            .iter()
            .filter(|server| holds(server.address) || !ours(server.address))
            .collect();
        let data = variables::virtual_servers(settings, &self.program, &held, real_servers);
        render(&self.virtual_servers.name, &self.virtual_servers.text, &data)
    }
}

impl Source {
    fn read(path: Option<&Path>, name: &str, built_in: &str) -> Result<Self, Error> {
        let Some(path) = path else {
            let name = format!("built-in template {name}");
            return Ok(Self { name, text: built_in.to_owned() });
        };
        let text = fs::read_to_string(path)
            .map_err(|source| Error::TemplateFile { path: path.to_owned(), source })?;
        Ok(Self { name: path.display().to_string(), text })
    }
}

/// What cplb itself needs, before any template's text: a template cannot lose it. Ranks are for
/// those that make use of them.
fn preamble(settings: &Settings, version: [u32; 3], instances: &str) -> String {
    let files = Files::new(&settings.run_dir);
    let path = |path: &Path| quote(&path.display().to_string());
    // Without, a reload would not tell the states of new instances (keepalived 2.2.7).
    let ranked = settings.instances.iter().map(|instance| &instance.name);
    let ranked = ranked.filter(|name| instances.contains(&heirs::file_name(name)));
    let ranks: String = ranked
        .map(|name| {
            let file = path(&files.rank(name));
            format!("track_file {} {{\n    file {file}\n}}\n", heirs::file_name(name))
        })
        .collect();
    let states = if version >= [2, 2, 7] { "    fifo_write_vrrp_states_on_reload\n" } else { "" };
    format!(
        "# Written by cplb: changes are lost.\n\
        global_defs {{\n    \
            vrrp_version {default}\n    \
            vrrp_notify_fifo {fifo} root\n{states}    \
            # cplb has it run in real time, where that is permitted.\n    \
            max_auto_priority -1\n    \
            vrrp_no_swap\n    \
            # Equal heirs claim in the same moment. The one that stays shall be heard last: it announces\n    \
            # over 10 ms, the other one stops within, and again a second later.\n    \
            vrrp_garp_interval 0.002\n    \
            vrrp_gna_interval 0.002\n    \
            vrrp_garp_master_delay 1\n\
        }}\n\
        # 0: ready; 1: not ready; 2: leaving.\n\
        track_file {READINESS} {{\n    \
            file {readiness}\n\
        }}\n{ranks}",
        default = default_version(settings),
        fifo = path(&files.fifo()),
        readiness = path(&files.readiness()),
    )
}

/// Of instances in templates that name no version; those of IPv6 have 3 in any case.
fn default_version(settings: &Settings) -> u8 {
    let mut ipv4 =
        settings.instances.iter().filter(|it| it.addresses.iter().any(|it| it.address.is_ipv4()));
    if ipv4.any(|instance| instance.version == Version::V2) { 2 } else { 3 }
}

/// Templates made for k0s know of no second family, which keepalived would drop with a log line.
fn check_second_family(
    settings: &Settings,
    outlines: &[Outline],
    template: &str,
) -> Result<(), Error> {
    let placed = |address: IpAddr| {
        outlines.iter().flat_map(|it| &it.addresses).any(|it| it.address == address)
    };
    for router in settings.routers() {
        if let Some(lost) = router.excluded.iter().find(|it| !placed(it.address)) {
            return Err(Error::Template {
                name: template.to_owned(),
                position: None,
                message: format!(
                    "{} of {} is nowhere in what it makes: VRRP advertises one family, put .ExcludedIPs into virtual_ipaddress_excluded",
                    lost.address, router.instance.name
                ),
            });
        }
    }
    Ok(())
}

/// What would end a word too early or cannot be read back.
fn check_words(settings: &Settings) -> Result<(), Error> {
    let wrong = |instance: &str, what: String, hint| {
        Err(Error::Setting { instance: instance.to_owned(), what, hint })
    };
    for instance in &settings.instances {
        let name = &instance.name;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            return wrong(
                name,
                format!("{name:?} is no name of an instance"),
                "use letters, digits, -, _ and .",
            );
        }
        if instance.addresses.is_empty() {
            return wrong(name, "no virtual address".into(), "give it one");
        }
        if let Some(what) = objection(&instance.auth_pass) {
            return wrong(
                name,
                format!(
                    "authPass contains {what}, which keepalived's configuration cannot express"
                ),
                "choose another one on every node, letters and digits are safe, or use `type: Builtin`",
            );
        }
        if let Some(what) = objection(&instance.interface) {
            return wrong(
                name,
                format!("the interface's name {:?} contains {what}", instance.interface),
                "rename the interface, or use `type: Builtin`",
            );
        }
    }
    if let Some(what) = objection(&settings.run_dir.display().to_string()) {
        return wrong(
            "run directory",
            format!("{} contains {what}", settings.run_dir.display()),
            "choose another one",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
