use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kernel::process::die_with_parent;

use crate::configuration::Configuration;
use crate::files::Files;
use crate::{Error, Event, Keepalived, Settings};

/// Settings that keepalived has said it can run.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) settings: Settings,
    pub(crate) configuration: Configuration,
    pub(crate) program: Program,
    warnings: Vec<String>,
}

/// keepalived on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: [u32; 3],
}

/// Finds keepalived, fills the templates in, and has keepalived test the result.
///
/// Changes nothing: what is tested is in a directory of its own, removed afterwards. Takes some
/// 50 milliseconds, and ends after 10 seconds if keepalived does not.
pub fn check(settings: &Settings) -> Result<Checked, Error> {
    let program = Program::find(settings.program.as_deref())?;
    let configuration = Configuration::new(settings, program.version)?;
    let mut checked =
        Checked { settings: settings.clone(), configuration, program, warnings: Vec::new() };
    // As it is on a backup, then as it is on a holder of everything.
    checked.warnings = checked.test(&[], |_| false)?;
    if !settings.virtual_servers.is_empty() {
        let examples: Vec<SocketAddr> =
            settings.virtual_servers.iter().map(|it| example(it.address)).collect();
        checked.test(&examples, |_| true)?;
        if !has_ipvs() {
            return Err(Error::NoIpvs);
        }
    }
    Ok(checked)
}

impl Checked {
    /// Starts keepalived and the thread that supervises it. The first step is to remove what an
    /// earlier run left.
    ///
    /// The node is not ready until [`Keepalived::set_ready`] says so.
    pub fn start(self, tell: Arc<dyn Fn(Event) + Send + Sync>) -> Result<Keepalived, Error> {
        Keepalived::start(self, tell)
    }

    /// What keepalived said of the configuration although it runs with it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// keepalived's version, "2.2.7".
    pub fn version(&self) -> String {
        self.program.version_text()
    }

    /// Has keepalived test the configuration with these virtual servers; the warnings.
    pub(crate) fn test(
        &self,
        real_servers: &[SocketAddr],
        holds: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<String>, Error> {
        let directory = tempfile::tempdir().map_err(Error::file(std::env::temp_dir()))?;
        let files = Files::new(directory.path());
        files.write_main(&self.configuration.main)?;
        let servers = self.configuration.virtual_servers(&self.settings, real_servers, holds)?;
        files.write_virtual_servers(&servers)?;
        let mut command = Command::new(&self.program.path);
        command.arg("--config-test").arg("--use-file").arg(files.main());
        let (status, said) = run(command, directory.path())?;
        let (harmless, findings) = findings(&said, &self.configuration.main, directory.path());
        if status.success() || (findings.is_empty() && !harmless.is_empty()) {
            return Ok(harmless);
        }
        if findings.is_empty() {
            return Err(Error::Refused { findings: vec![format!("it ended with {status}")] });
        }
        Err(Error::Refused { findings })
    }
}

impl Program {
    /// The one given, or the one on PATH.
    fn find(given: Option<&Path>) -> Result<Self, Error> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => on_path().ok_or(Error::NotInstalled)?,
        };
        let directory = tempfile::tempdir().map_err(Error::file(std::env::temp_dir()))?;
        let mut command = Command::new(&path);
        command.arg("--version");
        let (_, said) = run(command, directory.path()).map_err(|error| match error {
            Error::File { source, .. } => Error::Program { program: path.clone(), source },
            error => error,
        })?;
        let Some(version) = version(&said) else {
            let said = said.lines().next().unwrap_or_default().chars().take(80).collect();
            return Err(Error::NotKeepalived { program: path, said });
        };
        let program = Self { path, version };
        // The first with `max_auto_priority`.
        if version < [2, 1, 0] {
            return Err(Error::TooOld { found: program.version_text() });
        }
        Ok(program)
    }

    pub(crate) fn version_text(&self) -> String {
        self.version.map(|number| number.to_string()).join(".")
    }
}

/// Users' PATH often lacks the directories of system programs.
fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join("keepalived"))
        .find(|program| program.is_file())
}

/// Whether the kernel has IPVS or a module of it, which keepalived loads.
///
/// Without, keepalived ends as a whole as soon as there is a virtual server, so on every node that
/// takes the addresses over.
fn has_ipvs() -> bool {
    if Path::new("/proc/net/ip_vs").exists() {
        return true;
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    ["modules.dep", "modules.builtin"].iter().any(|list| {
        fs::read_to_string(format!("/lib/modules/{release}/{list}"))
            .is_ok_and(|list| list.contains("/ip_vs.ko"))
    })
}

/// "Keepalived v2.2.7 (01/16,2022)", on the first line.
fn version(said: &str) -> Option<[u32; 3]> {
    let rest = said.trim_start().strip_prefix("Keepalived v")?;
    let number = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = number.split('.').map(str::parse);
    let mut next = || parts.next().map_or(Some(0), Result::ok);
    Some([next()?, next()?, next()?])
}

const LONGEST_TEST: Duration = Duration::from_secs(10);

/// Runs it to its end; both of its outputs.
fn run(mut command: Command, directory: &Path) -> Result<(ExitStatus, String), Error> {
    let path = directory.join("output");
    let output = File::create(&path).map_err(Error::file(&path))?;
    let errors = output.try_clone().map_err(Error::file(&path))?;
    command.env("LC_ALL", "C").stdin(std::process::Stdio::null()).stdout(output).stderr(errors);
    die_with_parent(&mut command);
    let program = PathBuf::from(command.get_program());
    let mut child =
        command.spawn().map_err(|source| Error::Program { program: program.clone(), source })?;
    let end = Instant::now() + LONGEST_TEST;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Error::file(program.clone()))? {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::TestHangs(LONGEST_TEST.as_secs()));
        }
        thread::sleep(Duration::from_millis(2));
    };
    let said = fs::read(&path).map_err(Error::file(path))?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// What keepalived changes by itself, rightly.
const HARMLESS: [&str; 4] = [
    // The password of a version 3 instance, which k0s' template always writes.
    "does not support authentication",
    // The calls in k0s' template; they do nothing here.
    "script_security not enabled",
    "for script execution does not exist",
    "should be link local",
];

/// The lines of `keepalived -t`, each once: the harmless ones, and the others.
fn findings(said: &str, text: &str, directory: &Path) -> (Vec<String>, Vec<String>) {
    let (mut harmless, mut findings) = (Vec::new(), Vec::new());
    let directory = format!("{}/", directory.display());
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace(&directory, "");
        let found = explain(&line, text);
        let list = match HARMLESS.iter().any(|it| line.contains(it)) {
            true => &mut harmless,
            false => &mut findings,
        };
        if !list.contains(&found) {
            list.push(found);
        }
    }
    (harmless, findings)
}

/// Shows the statement of "(keepalived.conf: Line 7) Unknown keyword 'x'", but no password.
fn explain(line: &str, text: &str) -> String {
    let explained = || {
        let (place, message) = line.strip_prefix('(')?.split_once(')')?;
        let (file, number) = match place.rsplit_once(": Line ") {
            Some((file, number)) => (file, number),
            None => ("keepalived.conf", place.strip_prefix("Line ")?),
        };
        let statement = text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?);
        let statement = statement.filter(|_| file == "keepalived.conf").unwrap_or_default().trim();
        Some(format!("{file}:{number}: `{statement}`: {}", message.trim()))
    };
    let explained = explained().unwrap_or_else(|| line.to_owned());
    match explained.find("auth_pass ") {
        Some(start) => format!("{}auth_pass ...", &explained[..start]),
        None => explained,
    }
}

/// A real server of the same family, for the test alone (RFC 5737, RFC 3849).
fn example(virtual_server: IpAddr) -> SocketAddr {
    let address: IpAddr = match virtual_server {
        IpAddr::V4(_) => [192, 0, 2, 1].into(),
        IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
    };
    SocketAddr::new(address, 6443)
}

#[cfg(test)]
mod tests;
