//! Proof that nothing acknowledged is lost: the real program on real file systems, whose disk fails, loses its power, or both.

mod clean;
mod cut;
mod device;
mod disk;
mod fault;
mod http;
mod image;
mod load;
mod round;
mod store;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, Parser, Subcommand};
use fastrand::Rng;

use fault::Fault;
use load::{Load, Manner};
use round::{End, Report, Round};
use store::Store;
use volume::Kind;

/// Proves on failing disks that nothing acknowledged is lost. Needs root, FUSE and loop devices.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run rounds; exit code 1 if something acknowledged was lost or the program died, 2 if a round could not be run
    Run(Run),
    /// Say whether rounds can be run on this machine; exit code 2 if not
    Probe {
        /// File systems
        #[arg(long = "fs", value_delimiter = ',', default_value = "ext4,xfs,btrfs")]
        kinds: Vec<Kind>,
    },
    /// Unmount and delete what rounds that were killed have left
    Clean,
}

#[derive(Args)]
struct Run {
    /// File systems
    #[arg(long = "fs", value_delimiter = ',', default_value = "ext4,xfs,btrfs")]
    kinds: Vec<Kind>,
    /// Stores: the receiver's inbox, the bus's outbox
    #[arg(long = "store", value_delimiter = ',', default_value = "inbox,outbox")]
    stores: Vec<Store>,
    /// Faults of the disk
    #[arg(long = "fault", value_delimiter = ',', default_value = "write")]
    faults: Vec<Fault>,
    /// End of each round
    #[arg(long, default_value = "cut")]
    end: End,
    /// Power cuts of each file system, store and fault, in all its rounds
    #[arg(long, default_value_t = 100)]
    cuts: usize,
    /// Rounds of each file system, store and fault
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seed of the first round, which fixes faults and cuts, though not how the kernel orders its work [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// The program
    #[arg(long, env = "POWERCUT_BINARY")]
    binary: PathBuf,
    /// File to which the program's log is added
    #[arg(long)]
    log: Option<PathBuf>,
    /// Folder in which disks are kept on which something is missing or damaged
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Seconds of load in each round
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Messages a second [default: another in each round]
    #[arg(long)]
    rate: Option<u32>,
    /// Clients that send them
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Milliseconds that a flush takes [default: another in each round]
    #[arg(long)]
    flush_time: Option<u64>,
    /// Rhythm of the load [default: another in each round]
    #[arg(long)]
    load: Option<Manner>,
    /// Print one JSON object for each file system, store and fault
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let end = match Cli::parse().command {
        Verb::Run(run) => on_signal(&stop).and_then(|()| run.run(&stop)),
        Verb::Probe { kinds } => probe(&kinds).map(|()| true),
        Verb::Clean => clean::clean().map(|()| true),
    };
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A round that is interrupted unmounts what it has mounted.
fn on_signal(stop: &Arc<AtomicBool>) -> anyhow::Result<()> {
    let stop = Arc::clone(stop);
    Ok(ctrlc::set_handler(move || stop.store(true, Ordering::Relaxed))?)
}

fn probe(kinds: &[Kind]) -> anyhow::Result<()> {
    for kind in kinds {
        round::probe(*kind).with_context(|| format!("no rounds on {}", kind.name()))?;
    }
    Ok(())
}

impl Run {
    /// Returns true if nothing was lost.
    fn run(&self, stop: &AtomicBool) -> anyhow::Result<bool> {
        let first = self.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
        eprintln!("seed {first}");
        let mut is_good = true;
        for kind in &self.kinds {
            for store in &self.stores {
                for fault in &self.faults {
                    let report = self.rounds(*kind, *store, *fault, first, stop)?;
                    self.print(*kind, *store, *fault, first, &report);
                    is_good &= report.is_good();
                }
            }
        }
        Ok(is_good)
    }

    fn rounds(
        &self,
        kind: Kind,
        store: Store,
        fault: Fault,
        first: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<Report> {
        let mut report = Report::default();
        for number in 0..self.rounds {
            let seed = first + number as u64;
            let mut rng = Rng::with_seed(seed);
            let (rates, flush_times) = ([100, 200, 400, 800], [0, 0, 1, 4]);
            let manner = if rng.bool() { Manner::Steadily } else { Manner::InBursts };
            let load = Load {
                clients: self.clients,
                rate: self.rate.unwrap_or(rates[rng.usize(..rates.len())]),
                time: Duration::from_secs_f64(self.seconds),
                manner: self.load.unwrap_or(manner),
            };
            let flush_time = flush_times[rng.usize(..flush_times.len())];
            let round = Round {
                kind,
                store,
                fault,
                end: self.end,
                cuts: self.cuts * (number + 1) / self.rounds - self.cuts * number / self.rounds,
                load,
                flush_time: Duration::from_millis(self.flush_time.unwrap_or(flush_time)),
                binary: &self.binary,
                log: self.log.as_deref(),
                keep: self.keep.as_deref(),
                seed,
                stop,
            };
            round
                .run(&mut report)
                .with_context(|| format!("{} {} {}", kind.name(), store.name(), fault.name()))?;
        }
        let failed = report.writes_failed + report.flushes_failed;
        ensure!(failed > 0 || !fault.is_of_the_disk(), "the fault never came: send for longer");
        Ok(report)
    }

    fn print(&self, kind: Kind, store: Store, fault: Fault, seed: u64, report: &Report) {
        let (kind, store, fault) = (kind.name(), store.name(), fault.name());
        if self.json {
            let mut line = report.json();
            line["fs"] = kind.into();
            line["store"] = store.into();
            line["fault"] = fault.into();
            line["seed"] = seed.into();
            line["rounds"] = self.rounds.into();
            println!("{line}");
            return;
        }
        let verdict = match report {
            report if report.is_good() => "nothing lost",
            Report { died: 1.., with_loss: 0, damaged: 0, .. } => "DIED",
            _ => "LOST",
        };
        let Report { acknowledged, refused, unanswered, ends, with_loss, damaged, .. } = report;
        let Report { unmountable, worst, writes_failed, flushes_failed, .. } = report;
        println!(
            "{kind} {store} {fault}: {verdict}: {ends} ends in {:.0} s, {with_loss} with loss (worst {} of {}), \
             {damaged} damaged, {unmountable} unmountable; {acknowledged} acknowledged, {refused} refused, \
             {unanswered} unanswered; {writes_failed} writes and {flushes_failed} flushes failed; \
             {} of {} rounds served at the end",
            report.time.as_secs_f64(),
            worst.0,
            worst.1,
            report.served_at_the_end,
            self.rounds,
        );
    }
}
