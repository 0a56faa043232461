//! `serve`: runs the receiver from its settings.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use receiver::serve::Part;
use settings::{Config, LogFormat, Overrides};
use telemetry::start_log;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::Program;
use crate::setup::Setup;

/// The flags of `serve`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    /// Format of log lines
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,
    /// Part of the work that this process does; any but `all` takes an inbox on PostgreSQL
    #[arg(long, value_enum, default_value_t = Role::All, value_name = "ROLE")]
    role: Role,
    /// Address on which a worker answers /healthz and /readyz and shows its /metrics, e.g. 127.0.0.1:9090; on others than
    /// loopback the metrics need the login of [docs]
    #[arg(long, value_name = "ADDRESS")]
    monitor: Option<SocketAddr>,
}

/// Part of the work that a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Receive deliveries and handle them
    All,
    /// Receive deliveries; without hooks, the handlers' context is not made
    Receive,
    /// Handle what others receive; listens nowhere but on --monitor
    Work,
}

pub(crate) async fn run(args: Args, program: Program) -> anyhow::Result<ExitCode> {
    let mut config = settings::load(&args.settings)?;
    if let Some(format) = args.log {
        config.log.format = format;
    }
    // Errors of the settings are reported before a port in use.
    config.check()?;
    if args.role != Role::Work || !config.sources.is_empty() {
        config.hook_sites(&config.sources()?)?;
    }
    let part = match (args.role, args.monitor) {
        (Role::Work, None) => Part::Work(None),
        (Role::Work, Some(address)) => {
            let listener = TcpListener::bind(address).await;
            let why = || format!("cannot listen on {address}; choose another with --monitor");
            Part::Work(Some(listener.with_context(why)?))
        }
        (_, Some(_)) => {
            bail!("--monitor is for --role work; a receiver has these pages on its own address")
        }
        (Role::All, None) => Part::All(bind(&config).await?),
        (Role::Receive, None) => Part::Receive(bind(&config).await?),
    };
    serve(config, program, part, async |_| Ok(())).await
}

/// Binds before anything is opened or printed, so that a port in use is the first error.
pub(crate) async fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with --listen", config.listen)
    })
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then drains; with a task `beside` it that stops with it.
pub(crate) async fn serve(
    config: Config,
    program: Program,
    part: Part,
    beside: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let _log = start_log(&config.log)?;
    let needs_handlers = !matches!(part, Part::Receive(_))
        || config.sources.values().any(|source| source.hooks.is_some());
    let fork = match needs_handlers {
        true => program.start(Setup::new(config.clone())).await?,
        false => program.without_handlers()?,
    };
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone())?);
    let receiver = receiver::serve::serve(config, fork, part, None, stop.clone());
    tokio::try_join!(receiver, beside(stop))?;
    Ok(ExitCode::SUCCESS)
}

/// Drains at the first signal; a second one ends the process at once.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    Ok(async move {
        let mut next = async || {
            let hangup = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = hangup => "SIGHUP",
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let signal = next().await;
        info!(signal, "stopping; a second signal ends the process at once");
        stop.cancel();
        next().await;
        std::process::exit(130);
    })
}

/// True if the process was started, such as by `nohup`, to outlive its terminal.
fn ignores_hangup() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & SIGHUP != 0)
}
