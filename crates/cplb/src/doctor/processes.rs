//! The processes of this host's network namespace.

use std::fs;
use std::path::{Path, PathBuf};

/// A process and how it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The process that started it; 0 where that cannot be seen.
    pub(crate) parent: u32,
    /// The program's file name.
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
}

impl Process {
    /// The value of `--name=value` or `--name value`.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix(name) {
                Some("") => return arguments.next().map(String::as_str),
                Some(value) if value.starts_with('=') => return Some(&value[1..]),
                _ => {}
            }
        }
        None
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Those that share the network with the calling process and can be looked at.
pub(crate) fn all() -> Vec<Process> {
    let Some(network) = network_of(Path::new("/proc/self")) else { return Vec::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| entry.path())
        .filter(|path| network_of(path).is_some_and(|it| it == network))
        .filter_map(|path| read(&path))
        .collect()
}

/// The name of the process, for a message.
pub(crate) fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (pid {pid})", name.trim())
}

fn network_of(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}

fn read(path: &Path) -> Option<Process> {
    let pid = path.file_name()?.to_str()?.parse().ok()?;
    let arguments = strings(&path.join("cmdline"))?;
    // Kernel threads have none.
    let program = Path::new(arguments.first()?);
    Some(Process {
        pid,
        parent: fs::read_to_string(path.join("stat")).ok().and_then(|it| parent(&it)).unwrap_or(0),
        name: program.file_name()?.to_string_lossy().into_owned(),
        environment: strings(&path.join("environ")).unwrap_or_default(),
        arguments,
    })
}

/// Reads proc_pid_stat: the name in brackets may hold anything, after it come state and parent.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The strings of a file of /proc, each ended by a zero.
fn strings(path: &Path) -> Option<Vec<String>> {
    let bytes = fs::read(path).ok()?;
    let strings = bytes.split(|byte| *byte == 0).filter(|it| !it.is_empty());
    Some(strings.map(|it| String::from_utf8_lossy(it).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("321 (keepalived) S 300 321 321 0 -1"), Some(300));
        assert_eq!(parent("321 (a ) b) R 7 321 321 0 -1"), Some(7));
        assert_eq!(parent("321 (cut"), None);
    }

    #[test]
    fn this_process_is_among_its_own_kind() {
        let own = all().into_iter().find(|process| process.pid == std::process::id());
        assert_eq!(own.map(|it| it.parent), Some(std::os::unix::process::parent_id()));
    }
}
