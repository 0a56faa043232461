//! `hooks`: reads and prunes the log of hook calls, with or without a running receiver.

mod print;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::builder::PossibleValuesParser;
use contract::time::Timestamp;
use inbox::{HOOK_OUTCOMES, HookCalls, HookFilter, STEP_ROWS, throttled_step};
use text::inert;

use super::browse::{InboxArgs, PAGE, open_output, parse_time, print_pruned};

/// The flags of `hooks`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver hooks list --outcome failed --since 2h\n  \
    webhook-receiver hooks list --error-id 1e6e041c\n  \
    webhook-receiver hooks show 42\n  \
    webhook-receiver hooks export --hook Orders.SubmitOrder > calls.jsonl\n  \
    webhook-receiver hooks prune --older-than 30d\n\n\
    All of them work beside a running receiver, which writes a call down within a parse_time of its answer.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List calls, newest first
    List {
        #[command(flatten)]
        selection: CallFilterArgs,
        /// Largest number of calls
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Only calls after this one in the list: the next page
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Show one call: times, callback, and the bodies if they are stored
    Show {
        /// The call's number
        id: i64,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Write calls as JSON lines, with the bodies if they are stored
    Export {
        #[command(flatten)]
        selection: CallFilterArgs,
        /// File to write [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Delete old calls from the log, in a file never the newest
    Prune {
        /// Received longer ago than this, e.g. 30d
        #[arg(long, value_parser = humantime::parse_duration, value_name = "AGE")]
        older_than: std::time::Duration,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
}

/// The filter arguments; all conditions must hold.
#[derive(clap::Args)]
struct CallFilterArgs {
    /// From this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of this hook, in any case
    #[arg(long, value_name = "HOOK")]
    hook: Option<String>,
    /// With this outcome
    #[arg(long, value_parser = PossibleValuesParser::new(HOOK_OUTCOMES))]
    outcome: Option<String>,
    /// Failed call whose response had this error id
    #[arg(long, value_name = "ID")]
    error_id: Option<String>,
    /// Received at or after: 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Received before: as --since
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl CallFilterArgs {
    fn filter(self) -> HookFilter {
        let CallFilterArgs { source, hook, outcome, error_id, since, until } = self;
        HookFilter { source, hook, outcome, error_id, since, until, ..HookFilter::default() }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { selection, limit, before, inbox_args } => {
            let filter = HookFilter { limit: Some(limit), before, ..selection.filter() };
            print::list(&inbox_args.open().await?.list_hooks(filter).await?, inbox_args.json)?;
        }
        Command::Show { id, inbox_args } => match inbox_args.open().await?.show_hook(id).await? {
            Some(call) => print::call(&call, inbox_args.json)?,
            None => bail!("there is no call {id} in the log"),
        },
        Command::Export { selection, output, inbox_args } => {
            export(inbox_args.open().await?.as_ref(), selection.filter(), output).await?;
        }
        Command::Prune { older_than, inbox_args } => {
            let inbox = inbox_args.open().await?;
            let mut pruned = 0;
            while let step @ 1.. =
                throttled_step(|| inbox.prune_hooks(older_than, STEP_ROWS)).await?
            {
                pruned += step;
            }
            print_pruned("calls", pruned, inbox_args.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(
    inbox: &dyn HookCalls,
    filter: HookFilter,
    output: Option<PathBuf>,
) -> anyhow::Result<()> {
    let mut lines = open_output(output)?;
    let mut page = HookFilter { limit: Some(PAGE), ..filter };
    loop {
        let calls = inbox.list_hooks(page.clone()).await?;
        let Some(last) = calls.last() else { return Ok(lines.flush()?) };
        page.before = Some(last.id);
        for call in &calls {
            if let Some(call) = inbox.show_hook(call.id).await? {
                writeln!(lines, "{}", inert(&serde_json::to_string(&call)?))?;
            }
        }
    }
}
