//! Workers that are killed in the middle of one-effect handlers, a thousand at each point.

use std::time::Instant;

use anyhow::Context as _;
use clap::ValueEnum as _;
use tokio::process::Command;

use crate::harness::killed::{Point, Stores};

#[derive(clap::Args)]
pub(crate) struct Killed {
    /// Workers to kill at each point
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// Where the inbox and the data are [default: everywhere]
    #[arg(long, value_enum)]
    stores: Vec<Stores>,
    /// Point at which workers are killed [default: every]
    #[arg(long, value_enum)]
    point: Vec<Point>,
}

impl Killed {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Killed { kills, mut stores, mut point } = self;
        if stores.is_empty() {
            stores = Stores::value_variants().to_vec();
        }
        if point.is_empty() {
            point = Point::value_variants().to_vec();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for stores in stores {
            for &point in &point {
                let began = Instant::now();
                let stage = stores.stage().context("PostgreSQL is not installed")?;
                let counts =
                    runtime.block_on(stage.run(point, kills, || {
                        Command::new(std::env::current_exe().expect("it runs"))
                    }));
                let counts = counts.with_context(|| format!("{stores:?}, {point:?}"))?;
                println!("{stores:?}, {point:?}: {counts}, in {} s", began.elapsed().as_secs());
            }
        }
        Ok(())
    }
}
