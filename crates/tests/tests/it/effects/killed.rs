//! Workers that are killed in the middle of one-effect handlers: a short run. `cargo bench -p webhook-receiver-tests -- killed`
//! kills a thousand at each point.

use clap::ValueEnum as _;
use tokio::process::Command;

use crate::harness::killed::{Point, Stores, work_if_asked};

const KILLS: usize = 3;

/// The worker's process comes in here.
#[test]
fn worker() {
    work_if_asked();
}

fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "effects::killed::worker", "--nocapture"]);
    command
}

/// Kills at every point, each with stores of its own.
async fn everything_is_written_once(stores: Stores) {
    for &point in Point::value_variants() {
        let stage = tokio::task::spawn_blocking(move || stores.stage()).await.unwrap();
        let Some(stage) = stage else {
            return println!("NOT TRIED: PostgreSQL is not installed");
        };
        let counts = stage.run(point, KILLS, command).await;
        let counts = counts.unwrap_or_else(|error| panic!("{stores:?}, {point:?}: {error:#}"));
        println!("{stores:?}, {point:?}: {counts}");
    }
}

#[tokio::test]
async fn with_the_inbox_in_a_file_and_data_in_another() {
    everything_is_written_once(Stores::Files).await;
}

#[tokio::test]
async fn with_the_inbox_in_a_file_and_data_on_postgres() {
    everything_is_written_once(Stores::FileAndDatabase).await;
}

#[tokio::test]
async fn with_both_in_one_database() {
    everything_is_written_once(Stores::Database).await;
}

#[tokio::test]
async fn with_two_databases() {
    everything_is_written_once(Stores::Databases).await;
}
