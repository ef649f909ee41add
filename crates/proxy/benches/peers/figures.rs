use std::collections::BTreeMap;
use std::fmt::Write;

use crate::peer::Peer;
use crate::work::{Sample, Work};

/// All samples.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<(Work, Peer), Vec<Sample>>);

/// One line of the table.
struct Line {
    work: Work,
    name: &'static str,
    of: fn(&Sample) -> f64,
    factor: f64,
    digits: usize,
    aims: &'static [Aim],
}

/// What cplb is to reach.
#[derive(Clone, Copy)]
enum Aim {
    /// At most so much of the best peer's.
    OfBest(f64),
    /// At most so much of this peer's.
    Of(Peer, f64),
    /// At most this.
    AtMost(f64),
}

const fn bulk(is_upload: bool, streams: usize, name: &'static str) -> Line {
    Line {
        work: Work::Bulk { is_upload, streams },
        name,
        of: |sample| sample.cpu,
        factor: 1e3 * 1_073_741_824.0,
        digits: 0,
        aims: &[Aim::Of(Peer::Haproxy, 0.4), Aim::Of(Peer::Go, 0.7)],
    }
}

const fn rate(is_upload: bool, streams: usize, name: &'static str) -> Line {
    Line { of: |sample| sample.wall, aims: &[], ..bulk(is_upload, streams, name) }
}

const LINES: [Line; 20] = [
    Line {
        work: Work::Connections,
        name: "short connection, CPU µs",
        of: |sample| sample.cpu,
        factor: 1e6,
        digits: 1,
        aims: &[Aim::OfBest(0.75)],
    },
    Line {
        work: Work::Connections,
        name: "... time µs",
        of: |sample| sample.wall,
        factor: 1e6,
        digits: 1,
        aims: &[],
    },
    Line {
        work: Work::Connections,
        name: "... p99 µs",
        of: |sample| sample.p99,
        factor: 1e6,
        digits: 0,
        aims: &[],
    },
    Line {
        work: Work::Exchanges,
        name: "exchange, CPU µs",
        of: |sample| sample.cpu,
        factor: 1e6,
        digits: 2,
        aims: &[Aim::OfBest(0.7)],
    },
    Line {
        work: Work::Exchanges,
        name: "... time µs",
        of: |sample| sample.wall,
        factor: 1e6,
        digits: 2,
        aims: &[],
    },
    Line {
        work: Work::Exchanges,
        name: "... p99 µs",
        of: |sample| sample.p99,
        factor: 1e6,
        digits: 0,
        aims: &[Aim::OfBest(1.0)],
    },
    bulk(false, 1, "1 download, CPU ms/GiB"),
    rate(false, 1, "... time ms/GiB"),
    bulk(false, 8, "8 downloads, CPU ms/GiB"),
    rate(false, 8, "... time ms/GiB"),
    bulk(true, 1, "1 upload, CPU ms/GiB"),
    rate(true, 1, "... time ms/GiB"),
    bulk(true, 8, "8 uploads, CPU ms/GiB"),
    rate(true, 8, "... time ms/GiB"),
    Line {
        work: Work::Idle,
        name: "idle connection, bytes",
        of: |sample| sample.memory,
        factor: 1.0,
        digits: 0,
        aims: &[Aim::AtMost(256.0)],
    },
    Line {
        work: Work::Idle,
        name: "... descriptors",
        of: |sample| sample.descriptors,
        factor: 1.0,
        digits: 2,
        aims: &[Aim::AtMost(2.0)],
    },
    Line {
        work: Work::Idle,
        name: "... all, CPU %",
        of: |sample| sample.cpu,
        factor: 100.0,
        digits: 1,
        aims: &[Aim::AtMost(0.0)],
    },
    Line {
        work: Work::Idle,
        name: "... failed",
        of: |sample| sample.failed as f64,
        factor: 1.0,
        digits: 0,
        aims: &[Aim::AtMost(0.0)],
    },
    Line {
        work: Work::Storm,
        name: "storm, failed",
        of: |sample| sample.failed as f64,
        factor: 1.0,
        digits: 0,
        aims: &[Aim::AtMost(0.0)],
    },
    Line {
        work: Work::Storm,
        name: "... to the backend, p99 ms",
        of: |sample| sample.p99,
        factor: 1e3,
        digits: 1,
        aims: &[Aim::AtMost(100.0)],
    },
];

impl Figures {
    pub(crate) fn add(&mut self, work: Work, peer: Peer, sample: Sample) {
        self.0.entry((work, peer)).or_default().push(sample);
    }

    /// Medians, in brackets what cplb's is of the peer's, and what was aimed at.
    pub(crate) fn table(&self, peers: &[Peer]) -> String {
        let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
        let mut text = format!("| | {} | aim | |\n|---|", names.join(" | "));
        text.push_str(&"---|".repeat(peers.len() + 2));
        for line in &LINES {
            let own = self.median(line, Peer::Cplb);
            let cells: Vec<_> = peers.iter().map(|peer| self.cell(line, *peer, own)).collect();
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let (aims, verdict) = self.judge(line, peers, own);
            // Writing to a string does not fail.
            let _ =
                write!(text, "\n| {} | {} | {aims} | {verdict} |", line.name, cells.join(" | "));
        }
        text
    }

    fn cell(&self, line: &Line, peer: Peer, own: Option<f64>) -> String {
        let Some(value) = self.median(line, peer) else { return String::new() };
        let digits = line.digits;
        match own.map(|own| own / value) {
            Some(ratio) if peer != Peer::Cplb && ratio.is_finite() => {
                format!("{value:.digits$} ({ratio:.2})")
            }
            _ => format!("{value:.digits$}"),
        }
    }

    fn judge(&self, line: &Line, peers: &[Peer], own: Option<f64>) -> (String, &'static str) {
        let (mut aims, mut all_met) = (Vec::new(), true);
        for aim in line.aims {
            let others = peers.iter().filter(|peer| **peer != Peer::Cplb);
            let (text, most) = match aim {
                Aim::OfBest(share) => {
                    let values = others.filter_map(|peer| self.median(line, *peer));
                    (
                        format!("{share} of the best"),
                        values.min_by(f64::total_cmp).map(|best| best * share),
                    )
                }
                Aim::Of(peer, share) => {
                    (format!("{share} of {peer}"), self.median(line, *peer).map(|it| it * share))
                }
                Aim::AtMost(most) => (format!("{most}"), Some(*most)),
            };
            aims.push(text);
            let rounding = 0.5 / 10_f64.powi(line.digits as i32);
            all_met &= matches!((own, most), (Some(own), Some(most)) if own <= most + rounding);
        }
        let verdict = match aims.as_slice() {
            [] => "",
            _ if all_met => "met",
            _ => "missed",
        };
        (aims.join(", "), verdict)
    }

    fn median(&self, line: &Line, peer: Peer) -> Option<f64> {
        let samples = self.0.get(&(line.work, peer))?;
        let mut values: Vec<f64> =
            samples.iter().map(|sample| (line.of)(sample) * line.factor).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}
