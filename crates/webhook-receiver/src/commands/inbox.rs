//! `inbox`: lists, shows, replays, prunes, exports, backs up and copies deliveries, with or without a running receiver.

mod copy;
mod print;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use inbox::{self, Browse, Detail, Filter, STEP_ROWS, State, Upkeep, throttled_step};
use serde_json::{Value, json};
use text::inert;

use super::browse::{InboxArgs, open_output, parse_time, print_backup, print_pruned};

/// The number of whole deliveries that are read at once.
const EXPORTED: usize = 100;

/// The number of delivery ids that are read at once.
const READ: usize = 10_000;

/// The flags of `inbox`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver inbox list --state dead\n  \
    webhook-receiver inbox show 42\n  \
    webhook-receiver inbox replay --state dead --event OrderEvent --since 2h\n  \
    webhook-receiver inbox export --since 2026-01-01 > deliveries.jsonl\n  \
    webhook-receiver inbox prune --state done --older-than 30d\n  \
    webhook-receiver inbox backup /backup/inbox.db\n\n\
    All of them but copy work beside a running receiver, which picks up replayed deliveries within a second.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List deliveries, newest first
    List {
        #[command(flatten)]
        selection: DeliveryFilterArgs,
        /// Largest number of deliveries
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
        /// Only those with a smaller number: the next page
        #[arg(long, value_name = "ID")]
        before: Option<DeliveryId>,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Show one delivery: headers, body, attempts
    Show {
        /// The delivery's number
        id: DeliveryId,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Pass ended deliveries to their handlers again
    Replay {
        /// The deliveries' numbers
        ids: Vec<DeliveryId>,
        #[command(flatten)]
        selection: DeliveryFilterArgs,
        /// Go on with the run that has ended instead of beginning a new one: what a one-effect handler has applied in it is
        /// not applied again, and effect keys stay
        #[arg(long)]
        unapplied: bool,
        /// Only print the number
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Delete ended deliveries, in a file never the newest. A resend of a deleted one is new again, once a running receiver
    /// has dropped its id from the cache
    Prune {
        /// In this state: done, dead, unrouted or canary
        #[arg(long, value_enum)]
        state: State,
        /// Ended longer ago than this, e.g. 30d
        #[arg(long, value_parser = humantime::parse_duration, value_name = "AGE")]
        older_than: std::time::Duration,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Copy the whole inbox to a new file. Exit code 2 and no file if that fails
    Backup {
        /// File to write, readable by you alone
        file: PathBuf,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
    /// Copy a stopped receiver's inbox to another store, such as from a file to PostgreSQL, or back
    Copy(copy::CopyArgs),
    /// Write deliveries as JSON lines, bodies in base64
    Export {
        #[command(flatten)]
        selection: DeliveryFilterArgs,
        /// File to write [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        inbox_args: InboxArgs,
    },
}

/// The filter arguments; all conditions must hold.
#[derive(clap::Args, Clone)]
struct DeliveryFilterArgs {
    /// In this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// From this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Of this event, in any case
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// With this message id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Accepted at or after: 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Accepted before: as --since
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Resent with other bytes under the same id
    #[arg(long)]
    conflicts: bool,
    /// Resent and recognised by the bytes alone, because the sender gives no id
    #[arg(long)]
    recognised: bool,
}

impl DeliveryFilterArgs {
    fn filter(self) -> Filter {
        let DeliveryFilterArgs {
            state,
            source,
            event,
            message_id,
            since,
            until,
            conflicts,
            recognised,
        } = self;
        Filter {
            state,
            source,
            event_type: event,
            message_id,
            since,
            until,
            conflicts,
            recognised,
            ..Filter::default()
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { selection, limit, before, inbox_args } => {
            let filter = Filter { limit: Some(limit), before, ..selection.filter() };
            print::list(&inbox_args.open().await?.list(filter).await?, inbox_args.json)?;
        }
        Command::Show { id, inbox_args } => match inbox_args.open().await?.show(id).await? {
            Some(detail) => print::detail(&detail, &json_of(&detail), inbox_args.json)?,
            None => bail!("there is no delivery {id} in the inbox"),
        },
        Command::Replay { mut ids, selection, unapplied, dry_run, inbox_args } => {
            ids.sort_unstable();
            ids.dedup();
            let filter = Filter { ids: ids.clone(), ..selection.filter() };
            if filter == Filter::default() {
                bail!("give the deliveries: numbers, or a filter such as --state dead");
            }
            let inbox = inbox_args.open().await?;
            let act = match (dry_run, unapplied) {
                (true, _) => Replay::DryRun,
                (false, true) => Replay::Resume,
                (false, false) => Replay::Anew,
            };
            let replayed = replay(inbox.as_ref(), filter, act).await?;
            if replayed < ids.len() as u64 {
                let reason = not_replayed(inbox.as_ref(), &ids, replayed).await?;
                let what = if dry_run { "to be replayed" } else { "due again" };
                bail!("{what}: {replayed}; {reason}");
            }
            print::replayed(replayed, dry_run, inbox_args.json)?;
        }
        Command::Prune { state, older_than, inbox_args } => {
            if !state.has_ended() {
                bail!(
                    "only ended deliveries can be pruned: --state done, dead, unrouted or canary"
                );
            }
            prune(inbox_args.open().await?.as_ref(), state, older_than, inbox_args.json).await?;
        }
        Command::Backup { file, inbox_args } => {
            let copied = inbox::backup(&inbox_args.existing()?, &file)?;
            print_backup(&file, "deliveries", copied, inbox_args.json)?;
        }
        Command::Copy(args) => return copy::run(args).await,
        Command::Export { selection, output, inbox_args } => {
            export(inbox_args.open().await?.as_ref(), selection.filter(), output).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The kind of a replay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// Begins a new run.
    Anew,
    /// Goes on with the run that has ended.
    Resume,
    /// Counts.
    DryRun,
}

/// Replays the oldest first, so that the deliveries of one entity keep their order, and in steps that let a running
/// receiver go first.
async fn replay(inbox: &dyn Browse, filter: Filter, act: Replay) -> anyhow::Result<u64> {
    let newest = inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
    let Some(newest) = newest.first() else { return Ok(0) };
    // Deliveries that are accepted from now on are not replayed.
    let before = Some(newest.id.saturating_add(1));
    let mut rest = Filter { before, limit: Some(READ), ..filter.clone() };
    let mut replayed = 0;
    loop {
        let ids = inbox.replayable(rest.clone()).await?;
        let Some(last) = ids.last() else { return Ok(replayed) };
        rest.after = Some(*last);
        if act == Replay::DryRun {
            replayed += ids.len() as u64;
            continue;
        }
        for ids in ids.chunks(STEP_ROWS) {
            let step = Filter { ids: ids.to_vec(), ..filter.clone() };
            replayed += throttled_step(|| match act {
                Replay::Resume => inbox.resume(step.clone()),
                _ => inbox.replay(step.clone()),
            })
            .await?;
        }
    }
}

/// The reason why fewer deliveries were replayed than were named.
async fn not_replayed(
    inbox: &dyn Browse,
    ids: &[DeliveryId],
    replayed: u64,
) -> anyhow::Result<String> {
    let known = inbox.list(Filter { ids: ids.to_vec(), ..Filter::default() }).await?;
    let missing = ids.iter().filter(|id| known.iter().all(|entry| entry.id != **id));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    Ok(match missing.is_empty() {
        false => format!("not in the inbox: {}", missing.join(", ")),
        true => format!(
            "{} of the named deliveries were left alone: only ended ones are replayed, which the conditions must match",
            ids.len() as u64 - replayed
        ),
    })
}

async fn prune(
    inbox: &dyn Upkeep,
    state: State,
    older_than: std::time::Duration,
    json: bool,
) -> anyhow::Result<()> {
    let mut pruned = 0;
    while let step @ 1.. = throttled_step(|| inbox.prune(state, older_than, STEP_ROWS)).await? {
        pruned += step;
    }
    print_pruned("deliveries", pruned, json)
}

async fn export(inbox: &dyn Browse, filter: Filter, output: Option<PathBuf>) -> anyhow::Result<()> {
    let mut lines = open_output(output)?;
    let mut rest = Filter { limit: Some(EXPORTED), ..filter };
    loop {
        let page = inbox.details(rest.clone()).await?;
        for detail in &page {
            writeln!(lines, "{}", inert(&json_of(detail).to_string()))?;
        }
        let Some(last) = page.last() else { return Ok(lines.flush()?) };
        rest.before = Some(last.entry.id);
    }
}

/// A delivery as one JSON object. The body is in it as base64, byte for byte, and as text if it is text.
fn json_of(detail: &Detail) -> Value {
    let mut object = serde_json::to_value(&detail.entry).unwrap_or_default();
    object["orderingKey"] = json!(detail.ordering_key);
    object["key"] = json!(detail.key);
    object["headers"] = serde_json::from_str(&detail.headers).unwrap_or_default();
    object["attemptLog"] = json!(detail.attempts);
    object["body"] = json!(std::str::from_utf8(&detail.body).ok());
    object["bodyBase64"] = json!(STANDARD.encode(&detail.body));
    object
}
