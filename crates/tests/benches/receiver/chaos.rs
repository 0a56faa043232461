//! Chaos for hours: run after run, each with a seed and a fault, until a promise is broken or the time is over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::harness::chaos::fault::Fault;
use crate::harness::chaos::load::Load;
use crate::harness::chaos::promise::Counts;
use crate::harness::chaos::{SOON, Stage};

/// Time under load before the first measurement; from the last cure to the second; and of each.
const SETTLED: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(5);

/// The share of the rate that must be back then.
const BACK: f64 = 0.98;

#[derive(clap::Args)]
pub(crate) struct Chaos {
    /// The seed of the first run; each further one has the next
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many runs
    #[arg(long)]
    runs: Option<u64>,
    /// Stop after so many minutes
    #[arg(long, conflicts_with = "runs", default_value_t = 60)]
    minutes: u64,
    /// One fault instead of all
    #[arg(long, value_parser = fault)]
    fault: Option<Fault>,
    /// Faults in each run, one after the other
    #[arg(long, default_value_t = 1)]
    faults: u32,
    /// Another version of the program, from which an upgrade starts
    #[arg(long)]
    old: Option<PathBuf>,
    /// Events per second
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Entities of the events
    #[arg(long, default_value_t = 2000)]
    entities: u32,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::named(name)
        .ok_or_else(|| format!("the faults are {}", Fault::ALL.map(|f| f.to_string()).join(", ")))
}

impl Chaos {
    /// Runs until the end, or a signal: then the processes end, too.
    #[tokio::main]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = self.all() => ended,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminated.recv() => bail!("terminated"),
        }
    }

    async fn all(&self) -> anyhow::Result<()> {
        let first = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
        let stage = tokio::task::spawn_blocking(Stage::set_up).await?;
        let stage = stage.context("PostgreSQL is not installed")?;
        let end = Instant::now() + Duration::from_secs(60 * self.minutes);
        let runs = self.runs.unwrap_or(u64::MAX);
        let (mut held, mut slow) = (0, 0);
        for seed in (first..).take(usize::try_from(runs)?) {
            if self.runs.is_none() && Instant::now() > end {
                break;
            }
            let is_back = self.one(&stage, seed).await?;
            held += 1;
            slow += u64::from(!is_back);
        }
        println!(
            "{held} runs, all promises held; {slow} were not back at {BACK} of the rate in time"
        );
        if slow > 0 {
            bail!("{slow} of {held} runs were slow");
        }
        Ok(())
    }

    /// One run; true if the rate was back in time.
    async fn one(&self, stage: &Stage, seed: u64) -> anyhow::Result<bool> {
        let mut random = fastrand::Rng::with_seed(seed);
        let load = Load { rate: self.rate, entities: self.entities };
        let new = Path::new(env!("CARGO_BIN_EXE_fixture"));
        let old = self.old.as_deref().unwrap_or(new);
        let cluster = stage.start(load, seed, old, new).await;
        tokio::time::sleep(SETTLED).await;
        let steady = now();
        tokio::time::sleep(MEASURED + SOON).await;
        let mut inflicted = Vec::new();
        for _ in 0..self.faults {
            let any = Fault::ALL[random.usize(..Fault::ALL.len())];
            let fault = self.fault.unwrap_or(any);
            if let Some(reason) = fault.is_missing(&cluster) {
                println!("NOT TRIED: {fault}: {reason}");
                continue;
            }
            let length = Duration::from_millis(random.u64(500..8000));
            println!("seed {seed}: {fault}, {length:.1?}");
            fault.inflict(&cluster, &mut random, length).await;
            inflicted.push(fault.to_string());
        }
        tokio::time::sleep(RECOVERY).await;
        let recovered = now();
        tokio::time::sleep(MEASURED + SOON).await;
        let rate = async |since| {
            let before = since + i64::try_from(MEASURED.as_millis()).unwrap_or(0);
            cluster.handled_soon(since, before).await as f64 / MEASURED.as_secs_f64()
        };
        let (before, after) = (rate(steady).await, rate(recovered).await);
        let ended = Instant::now();
        let counts = match cluster.end().await {
            Ok(counts) => counts,
            Err(violation) => bail!("seed {seed}, {inflicted:?}: {violation}"),
        };
        let Counts { sent, acknowledged, kept, handled, lost, unsure } = counts;
        let backlog = ended.elapsed().as_secs_f64();
        if self.json {
            let line = json!({ "seed": seed, "faults": inflicted, "sent": sent, "acknowledged": acknowledged, "kept": kept,
                "handled": handled, "attempts_lost": lost, "answers_lost": unsure, "before": before, "after": after,
                "backlog": backlog });
            println!("{line}");
        } else {
            println!(
                "seed {seed}: {sent} sent, {acknowledged} acknowledged, {kept} kept, {handled} handled; {lost} attempts and \
                 {unsure} answers lost; {before:.0}/s before, {after:.0}/s after ({:.3}); backlog gone after {backlog:.1} s",
                after / before
            );
        }
        Ok(after >= BACK * before)
    }
}

fn now() -> i64 {
    contract::time::now().timestamp_millis()
}
