//! The lines of the screen. Pure.

use std::time::Duration;

/// What the screen shows.
pub(super) struct View {
    pub(super) elapsed: Duration,
    pub(super) phase: Option<String>,
    pub(super) virtual_address: String,
    pub(super) nodes: Vec<NodeView>,
    /// From 0.
    pub(super) selected: usize,
    pub(super) aims_at_apiservers: bool,
    /// Answers a second.
    pub(super) rate: f64,
    pub(super) failed: u64,
    /// One of the failures.
    pub(super) failure: Option<String>,
    pub(super) silence: String,
    /// The newest first.
    pub(super) events: Vec<String>,
}

/// A node's line.
pub(super) struct NodeView {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) holds: bool,
    pub(super) controller: &'static str,
    pub(super) role: String,
    pub(super) reason: String,
    pub(super) apiserver: &'static str,
    /// Answers in the last seconds, for its share.
    pub(super) answers: u64,
    pub(super) cut: bool,
}

/// All lines, each cut to `width` characters.
pub(super) fn render(view: &View, width: usize) -> Vec<String> {
    let seconds = view.elapsed.as_secs();
    let phase = view.phase.as_deref().map_or_else(String::new, |phase| format!("   {phase}"));
    let mut lines = vec![
        format!("cplb lab   {}:{:02}{phase}", seconds / 60, seconds % 60),
        String::new(),
        format!(
            "  {:<13} {:<15} {:<16} {:<8} {:<10} {:<9} {:>5}",
            "node", "address", "virtual IP", "control.", "VRRP", "apiserver", "share"
        ),
    ];
    let answers: u64 = view.nodes.iter().map(|node| node.answers).sum();
    for (index, node) in view.nodes.iter().enumerate() {
        lines.push(node_line(view, node, index == view.selected, answers));
        if !node.reason.is_empty() {
            lines.push(format!("                {}", node.reason));
        }
    }
    lines.push(String::new());
    let failure = view.failure.as_deref().map_or_else(String::new, |one| format!(" ({one})"));
    lines.push(format!(
        "  client: {:.0} answers/s, {} failed{failure}, longest silence {}",
        view.rate, view.failed, view.silence
    ));
    lines.push(String::new());
    let target = if view.aims_at_apiservers { "apiserver" } else { "controller" };
    lines.push(format!(
        "  keys on the {target} of {}: k kill  f freeze  t thaw  s stop  r run",
        view.nodes.get(view.selected).map_or("-", |node| &node.name)
    ));
    lines.push("  1 2 3 choose a node  a controller/apiserver  c cut  h heal  q quit".to_owned());
    lines.push(String::new());
    lines.extend(view.events.iter().cloned());
    lines.iter().map(|line| line.chars().take(width).collect()).collect()
}

fn node_line(view: &View, node: &NodeView, selected: bool, answers: u64) -> String {
    let mark = if selected { '>' } else { ' ' };
    let holds = if node.holds { format!("* {}", view.virtual_address) } else { String::new() };
    let share = match answers {
        0 => "-".to_owned(),
        all => format!("{}%", (node.answers * 100 + all / 2) / all),
    };
    let cut = if node.cut { "  cut off" } else { "" };
    format!(
        "{mark} {:<13} {:<15} {holds:<16} {:<8} {:<10} {:<9} {share:>5}{cut}",
        node.name, node.address, node.controller, node.role, node.apiserver
    )
}
