//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use emitter::EmitArgs;
use settings::Overrides;
use telemetry::print_error;
use text::inert_lines;

use crate::app::{App, Program};
use crate::commands;

/// Runs the command in the process's arguments for the fork's `app`: the whole of a fork's `main`.
pub fn main<C: Clone + Send + Sync + 'static>(app: App<C>) -> ExitCode {
    start(app.bind())
}

fn start(program: Program) -> ExitCode {
    let command = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(command, program)),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        print_error(format!("error: {}", inert_lines(&format!("{error:#}"))));
        ExitCode::from(2)
    })
}

/// Receives webhooks: authenticates, drops duplicates, stores, answers, and hands each event to a typed handler.
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
    /// Send events as the sender would, correctly or forged
    Emit {
        #[command(flatten)]
        settings: Overrides,
        #[command(flatten)]
        args: Box<EmitArgs>,
    },
    #[cfg(feature = "bus")]
    /// Run an event bus, as the vendor does: subscriptions, retries, outages, logs
    Bus(commands::bus::Args),
    #[cfg(feature = "bus")]
    /// Publish events to a running bus
    Publish(commands::publish::Args),
    /// Manage the inbox: list, show, replay, discard, prune, export, backup
    Inbox(commands::inbox::Args),
    /// Follow the inbox: print deliveries as they arrive and end
    Tail(commands::tail::Args),
    #[cfg(feature = "postgres")]
    /// Make or update the schema of an inbox on PostgreSQL
    Migrate(commands::migrate::Args),
    /// Print the statements that make the tables of one-effect handlers in the handlers' own database
    Effects(commands::effects::Args),
    /// Manage the log of hook calls: list, show, export, prune
    Hooks(commands::hooks::Args),
    /// Check the settings: errors, warnings, and the sources that would be served
    Check(commands::check::Args),
    /// Show when each key was last used, so that an old one can be removed
    Keys(commands::keys::Args),
    /// Check a captured request: would it be accepted, and if not, why
    Verify(commands::verify::Args),
    #[cfg(feature = "doctor")]
    /// Print the setup guide: what to enter on the sender's side
    Connect(commands::connect::Args),
    #[cfg(feature = "doctor")]
    /// Smoke-test a live webhook: reach, identity, signature, duplicates, bodies, time, exposure
    Doctor(Box<commands::doctor::Args>),
    /// Print the OpenAPI document
    Openapi(commands::openapi::Args),
    /// Check that a running receiver is ready; exit code 0 if it is, 1 if not
    Healthcheck(commands::healthcheck::Args),
    /// Generate a strong key, or the hash of a password
    Secret(commands::secret::Args),
}

async fn run(command: Command, program: Program) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(args) => commands::dev::run(args, program).await,
        Command::Serve(args) => commands::serve::run(args, program).await,
        Command::Emit { settings, args } => {
            let config = settings::load(&settings)?;
            Ok(emitter::run(*args, &*program.table()?, &config).await?.into())
        }
        #[cfg(feature = "bus")]
        Command::Bus(args) => commands::bus::run(args, &program).await,
        #[cfg(feature = "bus")]
        Command::Publish(args) => commands::publish::run(args).await,
        Command::Inbox(args) => commands::inbox::run(args).await,
        Command::Tail(args) => commands::tail::run(args).await,
        #[cfg(feature = "postgres")]
        Command::Migrate(args) => commands::migrate::run(args).await,
        Command::Effects(args) => commands::effects::run(&args, &program),
        Command::Hooks(args) => commands::hooks::run(args).await,
        Command::Check(args) => commands::check::run(args),
        Command::Keys(args) => commands::keys::run(args).await,
        Command::Verify(args) => commands::verify::run(&args),
        #[cfg(feature = "doctor")]
        Command::Connect(args) => commands::connect::run(&args, &program),
        #[cfg(feature = "doctor")]
        Command::Doctor(args) => commands::doctor::run(*args, &program).await,
        Command::Openapi(args) => commands::openapi::run(args, &program),
        Command::Healthcheck(args) => commands::healthcheck::run(args).await,
        Command::Secret(args) => commands::secret::run(args),
    }
}

/// True if the reader of the output, such as `head`, has closed it.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
