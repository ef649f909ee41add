//! keepalived and its children, as proc(5) shows them, at the price of a read each.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Files that stay open: a look opens none while the family is the same. Those of a process that
/// has ended cannot be read any more, whoever gets its number.
#[derive(Debug)]
pub(crate) struct Family {
    parent: u32,
    /// `None` where the kernel has no such list (CONFIG_PROC_CHILDREN).
    children: Option<File>,
    /// What keepalived writes its children's numbers to.
    pid_files: Vec<PathBuf>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    pid: u32,
    stat: File,
}

impl Family {
    pub(crate) fn new(parent: u32, pid_files: Vec<PathBuf>) -> Self {
        let children = File::open(format!("/proc/{parent}/task/{parent}/children")).ok();
        Self { parent, children, pid_files, members: Vec::new() }
    }

    /// Looks who lives; whether any of them is stopped (SIGSTOP).
    pub(crate) fn has_stopped(&mut self) -> bool {
        let mut living = self.children();
        living.push(self.parent);
        self.members.retain(|member| living.contains(&member.pid));
        let new = living.into_iter().filter(|pid| !self.members.iter().any(|it| it.pid == *pid));
        let new: Vec<Member> = new.filter_map(Member::open).collect();
        self.members.extend(new);

        let mut stopped = false;
        self.members.retain(|member| {
            let state = member.state();
            stopped |= state == Some('T');
            state.is_some()
        });
        stopped
    }

    /// Whether this process was among them at the last look.
    pub(crate) fn had(&self, pid: u32) -> bool {
        self.members.iter().any(|member| member.pid == pid)
    }

    fn children(&self) -> Vec<u32> {
        let Some(children) = &self.children else {
            let written = self.pid_files.iter().filter_map(|path| fs::read_to_string(path).ok());
            let pids = written.filter_map(|text| text.trim().parse().ok());
            return pids.filter(|pid| self.is_parent_of(*pid)).collect();
        };
        // keepalived has three, and scripts. A space ends each number: the last may be cut off.
        let text = read::<1024>(children).unwrap_or_default();
        let whole = text.rsplit_once(' ').map_or("", |(whole, _)| whole);
        whole.split(' ').filter_map(|pid| pid.parse().ok()).collect()
    }

    /// A file may name a process of long ago.
    fn is_parent_of(&self, pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        fields(&stat).and_then(|mut fields| fields.nth(1)) == Some(&self.parent.to_string())
    }
}

impl Member {
    fn open(pid: u32) -> Option<Self> {
        Some(Self { pid, stat: File::open(format!("/proc/{pid}/stat")).ok()? })
    }

    /// `None` when it has ended.
    fn state(&self) -> Option<char> {
        let stat = read::<128>(&self.stat)?;
        fields(&stat)?.next()?.chars().next()
    }
}

/// The beginning of a file that is made anew for each read.
fn read<const LENGTH: usize>(file: &File) -> Option<String> {
    let mut buffer = [0; LENGTH];
    let length = file.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// From the state on (proc_pid_stat(5)); the name before it may hold anything.
fn fields(stat: &str) -> Option<std::str::Split<'_, char>> {
    stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// A parent that waits for its child.
    struct Processes(Child);

    impl Processes {
        fn start() -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 60 & wait"]).stdin(Stdio::null()).stdout(Stdio::null());
            Self(command.spawn().unwrap())
        }

        fn family(&self) -> Family {
            Family::new(self.0.id(), Vec::new())
        }
    }

    impl Drop for Processes {
        fn drop(&mut self) {
            for pid in self.family().children() {
                kill(pid, Signal::KILL);
            }
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn kill(pid: u32, signal: Signal) {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Follows parent and child through stops and ends.
    fn follow(mut family: Family, child: u32) {
        assert!(!family.has_stopped());
        for pid in [child, family.parent] {
            assert!(family.had(pid));
            kill(pid, Signal::STOP);
            eventually("it is stopped", || family.has_stopped());
            kill(pid, Signal::CONT);
            eventually("it goes on", || !family.has_stopped());
        }
        assert!(!family.had(std::process::id()));
        kill(child, Signal::KILL);
        eventually("the child is gone", || !family.has_stopped() && !family.had(child));
    }

    fn only_child(family: &Family) -> u32 {
        eventually("there is a child", || !family.children().is_empty());
        family.children()[0]
    }

    #[test]
    fn whoever_of_them_is_stopped_is_seen() {
        let processes = Processes::start();
        let family = processes.family();
        let child = only_child(&family);
        follow(family, child);
    }

    #[test]
    fn without_the_kernels_list_the_pid_files_name_the_children() {
        let processes = Processes::start();
        let child = only_child(&processes.family());
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, pid: u32| {
            let path = directory.path().join(name);
            fs::write(&path, format!("{pid}\n")).unwrap();
            path
        };
        // The second one names no child of the family.
        let pid_files = vec![
            write("child", child),
            write("stranger", std::process::id()),
            directory.path().join("none"),
        ];
        let parent = processes.0.id();
        let family = Family { parent, children: None, pid_files, members: Vec::new() };
        assert_eq!(family.children(), [child]);
        follow(family, child);
    }
}
