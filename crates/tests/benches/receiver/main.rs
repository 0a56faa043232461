//! What the receiver can take, beside the physical limit of the same machine, in one run.
//!
//! `cargo bench --profile dist -p webhook-receiver-tests` prints the rates of four servers and the latencies at a fixed rate;
//! `cargo bench --profile dist -p webhook-receiver-tests -- tail` prints the latencies of a minute at saturation;
//! `cargo bench --profile dist -p webhook-receiver-tests -- curve` prints what a delivery costs with more and more rows in the inbox;
//! `cargo bench --profile dist -p webhook-receiver-tests -- proof` prints what it costs to check who sent it, and
//! `cargo bench --profile dist -p webhook-receiver-tests -- flood` what a flood of forgeries leaves of the rate of genuine deliveries;
//! `cargo bench --profile dist -p webhook-receiver-tests -- hooks` prints what a hook costs, and what open calls leave of the speed of deliveries, and
//! `cargo bench --profile dist -p webhook-receiver-tests -- bus` what the event bus delivers and takes.
//! `cargo bench --profile dist -p webhook-receiver-tests -- postgres` prints what an inbox on PostgreSQL takes, beside pgbench;
//! with `snapshot`, `keys`, `idle`, `wake` or `fair` after it, what a held snapshot and many ids cost, and what waits for what.
//! `cargo bench --profile dist -p webhook-receiver-tests -- peer` prints what the receiver and `qhook` take, with the same checks.
//! `cargo bench -p webhook-receiver-tests -- chaos --minutes 60` lets everything around such an inbox go wrong, and checks what
//! it promises.
//! `cargo bench -p webhook-receiver-tests -- killed` kills workers a thousand times at each point of a one-effect handler's attempt,
//! and counts what they have written; `effects` prints what such handlers take.
//! `cargo bench --profile release -p webhook-receiver-tests -- console` prints what the console's pages take on a large inbox, and
//! what open live views cost; with `--postgres` on a database.
//! Load goes to loopback, from a process of its own.

mod baseline;
mod bus;
mod chaos;
mod console;
mod curve;
mod effects;
mod flood;
mod hooks;
mod killed;
mod load;
mod peer;
mod postgres;
mod process;
mod proof;
mod rates;

/// What the benchmark shares with the tests.
#[path = "../../tests/it/harness"]
#[allow(dead_code, clippy::unwrap_used)]
mod harness {
    pub(crate) mod chaos;
    pub(crate) mod killed;
    pub(crate) mod postgres;
    pub(crate) mod proxy;
}

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Threads free what others have allocated: there the system's allocator makes them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    after_help = "Example: cargo bench --profile dist -p webhook-receiver-tests -- rates --rounds 5"
)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// Rounds of every row; the median is printed
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Seconds of load in every round [default: 5; 60 for tail]
    #[arg(long, global = true)]
    seconds: Option<u64>,
    /// Given by cargo
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Role {
    /// Rates and latencies of the four servers (the default)
    Rates,
    /// Latencies at saturation, a minute for each server unless --seconds says otherwise
    Tail,
    /// What a delivery costs as the inbox grows
    Curve {
        /// How many rows are stored before
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
        rows: Vec<u64>,
        /// Where the filled inboxes are kept for the next run; about 1.6 KB a row
        #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench-curve"))]
        folder: PathBuf,
    },
    /// What the proof of a delivery costs, from none to an ed25519 signature
    Proof,
    /// The rate of genuine deliveries, alone and under a flood of forgeries
    Flood,
    /// What an inbox on PostgreSQL takes, beside pgbench on the same server
    Postgres {
        #[arg(value_enum, default_value = "throughput")]
        measured: postgres::Measured,
    },
    /// What the receiver and qhook take, with the same checks and durability
    Peer {
        /// The program, if it is not on the PATH
        #[arg(long, default_value = "qhook")]
        qhook: PathBuf,
    },
    /// Two receivers and two workers on one PostgreSQL, and everything that goes wrong
    Chaos(chaos::Chaos),
    /// What the console's pages take on a large inbox, and what open live views cost
    Console(console::Console),
    /// What one-effect handlers take, and what it costs to defer an event
    Effects(effects::Effects),
    /// Workers that are killed in the middle of one-effect handlers
    Killed(killed::Killed),
    /// What the event bus delivers, alone and beside a dead target, and how fast it takes events
    Bus,
    /// A target of the bus (a process of its own)
    #[command(hide = true)]
    Sink,
    /// What a hook costs beside bare axum and beside its callback alone
    Hooks,
    /// Bare axum that reads and writes a hook's models (a process of its own)
    #[command(hide = true)]
    Bare,
    /// The receiver with this program's handlers (a process of its own)
    #[command(hide = true)]
    Hooked { settings: PathBuf, pattern: hooks::Pattern },
    /// A bare axum echo (a process of its own)
    #[command(hide = true)]
    Echo,
    /// A server that appends to a file and answers after a group fdatasync (a process of its own)
    #[command(hide = true)]
    Append { file: PathBuf },
    /// The receiver's checks in front of such a file (a process of its own)
    #[command(hide = true)]
    Checked { settings: PathBuf, file: PathBuf },
    /// The load (a process of its own)
    #[command(hide = true)]
    Load(load::Load),
}

fn main() -> anyhow::Result<()> {
    harness::killed::work_if_asked();
    let cli = Cli::parse();
    let role = cli.role.unwrap_or(Role::Rates);
    let usual = if matches!(role, Role::Tail) { 60 } else { 5 };
    let length = Duration::from_secs(cli.seconds.unwrap_or(usual));
    match role {
        Role::Tail => rates::tail(length),
        Role::Rates => rates::run(cli.rounds, length),
        Role::Curve { rows, folder } => curve::run(&rows, &folder, cli.rounds, length),
        Role::Proof => proof::run(cli.rounds),
        Role::Flood => flood::run(cli.rounds, length),
        Role::Postgres { measured } => postgres::run(measured, cli.rounds, cli.seconds),
        Role::Peer { qhook } => peer::run(&qhook, cli.rounds, length),
        Role::Chaos(chaos) => chaos.run(),
        Role::Console(args) => args.run(cli.rounds, length),
        Role::Effects(args) => effects::run(&args, cli.rounds),
        Role::Killed(killed) => killed.run(),
        Role::Bus => bus::run(cli.rounds, length),
        Role::Sink => baseline::sink(),
        Role::Hooks => hooks::run(cli.rounds, length),
        Role::Bare => hooks::bare(),
        Role::Hooked { settings, pattern } => hooks::receiver(&settings, pattern),
        Role::Echo => baseline::echo(),
        Role::Append { file } => baseline::append(&file),
        Role::Checked { settings, file } => baseline::checked(&settings, &file),
        Role::Load(load) => load.run(),
    }
}
