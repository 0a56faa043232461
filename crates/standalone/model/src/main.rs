//! Model of the inbox on PostgreSQL: every order in which its transactions can meet, within bounds.

mod action;
mod check;
mod claim;
mod finish;
mod identity;
mod property;
mod rule;
mod session;
mod system;
mod tables;
#[cfg(test)]
mod tests;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

use check::check;
use identity::Identities;
use rule::Rule;
use system::Inbox;

/// Checks the inbox on PostgreSQL in every order of its transactions' steps; exit code 1 if a property fails.
#[derive(Parser)]
struct Cli {
    /// Deliveries
    #[arg(long, default_value_t = 3)]
    deliveries: usize,
    /// Connections, each with one transaction at a time
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Entity of each delivery, or - for none; the last is repeated
    #[arg(long, value_delimiter = ',', default_value = "1,1,-", allow_hyphen_values = true)]
    entities: Vec<String>,
    /// Leases that expire, retries, releases and replays
    #[arg(long, default_value_t = 2)]
    disturbances: u8,
    /// Rules left out
    #[arg(long, value_delimiter = ',')]
    without: Vec<Rule>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let entity = |n: usize| cli.entities.get(n).or(cli.entities.last())?.parse().ok();
    let identities = Identities { receivers: cli.workers, without: cli.without.clone() };
    let inbox = Inbox {
        entities: (0..cli.deliveries).map(entity).collect(),
        sessions: cli.workers,
        disturbances: cli.disturbances,
        without: cli.without,
    };
    let failed = [check(identities, true).failed, check(inbox, true).failed].concat();
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    }
}
