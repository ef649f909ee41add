use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A process and its children, looked at from outside.
pub(crate) struct Meter(Vec<u32>);

/// What they use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a processor, in user space and in the kernel, all threads (schedstat).
    pub(crate) cpu: Duration,
    /// Memory that they alone have written (Private_Dirty).
    pub(crate) memory: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
}

impl Meter {
    /// The process and who is its child now.
    pub(crate) fn new(process: u32) -> Self {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        Self(std::iter::once(process).chain(children).collect())
    }

    /// What they have used or use now.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for process in &self.0 {
            usage.cpu += self.cpu_of(*process);
            let memory = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
            usage.memory += kilobytes(&memory.unwrap_or_default(), "Private_Dirty:") << 10;
            usage.descriptors += entries(format!("/proc/{process}/fd").into()).len();
        }
        usage
    }

    /// Time on a processor.
    pub(crate) fn cpu(&self) -> Duration {
        self.0.iter().map(|process| self.cpu_of(*process)).sum()
    }

    fn cpu_of(&self, process: u32) -> Duration {
        let tasks = entries(format!("/proc/{process}/task").into());
        let nanoseconds = tasks.iter().filter_map(|task| {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn entries(directory: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}
