//! The commands.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use webhook_receiver::config::{self, Overrides};
use webhook_receiver::emitter::{self, EmitArgs};
use webhook_receiver::handlers;
use webhook_receiver::telemetry::complain;
use webhook_receiver::text::inert_lines;

/// What one thread allocates, another frees: there the system's allocator makes threads wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Receives webhooks: authenticates, drops duplicates, keeps, answers, and hands each event to a typed handler.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Start with `webhook-receiver dev`: it needs no settings at all."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try everything on this machine: no settings, generated keys, Swagger
    Dev(commands::dev::Args),
    /// Run the receiver from its settings
    Serve(commands::serve::Args),
    /// Send events as the sender would, correctly or not
    Emit {
        #[command(flatten)]
        settings: Overrides,
        #[command(flatten)]
        args: Box<EmitArgs>,
    },
    /// Stand in for the vendor's event bus: subscriptions, retries, outages, logs
    Bus(commands::bus::Args),
    /// Give events to a running bus
    Publish(commands::publish::Args),
    /// Look into the inbox: list, show, replay, prune, export, backup
    Inbox(commands::inbox::Args),
    /// Look into the log of hook calls: list, show, export, prune
    Hooks(commands::hooks::Args),
    /// Check the settings: what would be refused, what is unwise, which sources would be served
    Check(commands::check::Args),
    /// Show when each key was last used, so that an old one can go
    Keys(commands::keys::Args),
    /// Say whether a captured request would be accepted, and if not, why
    Verify(commands::verify::Args),
    /// Print what to enter on the sender's side
    Connect(commands::connect::Args),
    /// Smoke-test a live webhook: reach, identity, signature, duplicates, bodies, time, exposure
    Doctor(Box<commands::doctor::Args>),
    /// Print the OpenAPI document
    Openapi(commands::openapi::Args),
    /// Ask a running receiver whether it is ready; exit code 0 if it is, 1 if not
    Healthcheck(commands::healthcheck::Args),
    /// Make a strong key, or the hash of a password
    Secret(commands::secret::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev(args) => commands::dev::run(args).await,
        Command::Serve(args) => commands::serve::run(args).await,
        Command::Emit { settings, args } => emit(&settings, *args).await,
        Command::Bus(args) => commands::bus::run(args).await,
        Command::Publish(args) => commands::publish::run(args).await,
        Command::Inbox(args) => commands::inbox::run(args).await,
        Command::Hooks(args) => commands::hooks::run(args).await,
        Command::Check(args) => commands::check::run(args),
        Command::Keys(args) => commands::keys::run(args).await,
        Command::Verify(args) => commands::verify::run(&args),
        Command::Connect(args) => commands::connect::run(&args),
        Command::Doctor(args) => commands::doctor::run(*args).await,
        Command::Openapi(args) => commands::openapi::run(args),
        Command::Healthcheck(args) => commands::healthcheck::run(args).await,
        Command::Secret(args) => commands::secret::run(args),
    };
    result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        complain(format!("error: {}", inert_lines(&format!("{error:#}"))));
        ExitCode::from(2)
    })
}

/// Whether whoever read the output, such as `head`, has had enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn emit(settings: &Overrides, args: EmitArgs) -> anyhow::Result<ExitCode> {
    let config = config::load(settings)?;
    Ok(emitter::run(args, &handlers::catalog().checked()?, &config).await?.into())
}
