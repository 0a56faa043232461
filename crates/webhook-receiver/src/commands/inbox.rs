//! `inbox`: lists, shows, replays, discards, prunes, exports, backs up and copies deliveries, with or without a running receiver.

mod copy;
mod filter;
pub(super) mod print;
mod record;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::event::DeliveryId;
use inbox::{
    self, ActKind, Browse, Detail, Filter, Inbox, Order, STEP_ROWS, State, throttled_step,
};
use serde_json::{Value, json};
use text::inert;

use super::browse::{InboxArgs, open_output, print_backup, print_pruned};
pub(super) use filter::DeliveryFilterArgs;
use record::ActRecord;

/// The number of whole deliveries that are read at once.
const EXPORTED: usize = 100;

/// The number of delivery ids that are read at once, and of deliveries.
const READ: usize = 10_000;
const LISTED: usize = 1_000;

/// The flags of `inbox`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver inbox list --state dead\n  \
    webhook-receiver inbox show 42\n  \
    webhook-receiver inbox replay --state dead --event OrderEvent --since 2h\n  \
    webhook-receiver inbox discard --state dead --error 'no such customer' --reason 'test orders'\n  \
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
    /// End deliveries that are ready, dead or unrouted without handling them: they are done, and their attempt log says
    /// discarded
    Discard {
        /// The deliveries' numbers
        ids: Vec<DeliveryId>,
        #[command(flatten)]
        selection: DeliveryFilterArgs,
        /// The reason, for the attempt log
        #[arg(long, value_name = "TEXT")]
        reason: String,
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
            let subject = selection.subject(&ids);
            let filter = selected(&ids, selection)?;
            let inbox = inbox_args.open().await?;
            let act = match (dry_run, unapplied) {
                (true, _) => Replay::DryRun,
                (false, true) => Replay::Resume,
                (false, false) => Replay::Anew,
            };
            let replayed = replay(inbox.as_ref(), filter, act, subject).await?;
            if replayed < ids.len() as u64 {
                let what = if dry_run { "to be replayed" } else { "due again" };
                let only = "only ended ones are replayed, which the conditions must match";
                bail!(
                    "{what}: {replayed}; {}",
                    left_alone(inbox.as_ref(), &ids, replayed, only).await?
                );
            }
            print::replayed(replayed, dry_run, inbox_args.json)?;
        }
        Command::Discard { mut ids, selection, reason, dry_run, inbox_args } => {
            ids.sort_unstable();
            ids.dedup();
            let subject = selection.subject(&ids);
            let filter = selected(&ids, selection)?;
            if filter.state.is_some_and(|state| !state.can_be_discarded()) {
                bail!("only these can be discarded: --state ready, dead or unrouted");
            }
            let inbox = inbox_args.open().await?;
            let discarded = match dry_run {
                true => discard(inbox.as_ref(), filter, &reason, None).await?,
                false => {
                    let (kind, total) = (ActKind::Discard, ids.len() as u64);
                    let record = ActRecord::begin(
                        inbox.as_ref(),
                        kind,
                        subject,
                        Some(reason.clone()),
                        total,
                    );
                    let mut record = record.await?;
                    let discarded =
                        discard(inbox.as_ref(), filter, &reason, Some(&mut record)).await;
                    record.end(discarded).await?
                }
            };
            if discarded < ids.len() as u64 {
                let what = if dry_run { "to be discarded" } else { "discarded" };
                let only = "only those that are ready, dead or unrouted are discarded, which the conditions must match";
                bail!(
                    "{what}: {discarded}; {}",
                    left_alone(inbox.as_ref(), &ids, discarded, only).await?
                );
            }
            print::discarded(discarded, dry_run, inbox_args.json)?;
        }
        Command::Prune { state, older_than, inbox_args } => {
            if !state.has_ended() {
                bail!(
                    "only ended deliveries can be pruned: --state done, dead, unrouted or canary"
                );
            }
            let inbox = inbox_args.open().await?;
            let age = humantime::format_duration(older_than).to_string();
            let subject = json!({ "state": state.as_str(), "olderThan": age }).to_string();
            let mut record =
                ActRecord::begin(inbox.as_ref(), ActKind::Prune, subject, None, 0).await?;
            let pruned = prune(inbox.as_ref(), state, older_than, &mut record).await;
            print_pruned("deliveries", record.end(pruned).await?, inbox_args.json)?;
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

/// The filter of a command that changes deliveries, which must have been given.
fn selected(ids: &[DeliveryId], selection: DeliveryFilterArgs) -> anyhow::Result<Filter> {
    let filter = Filter { ids: ids.to_vec(), ..selection.filter() };
    if filter == Filter::default() {
        bail!("give the deliveries: numbers, or a filter such as --state dead");
    }
    Ok(filter)
}

/// The bound of what is there now: deliveries that are accepted from now on are left alone. None if there are none.
async fn bound(inbox: &dyn Inbox) -> anyhow::Result<Option<DeliveryId>> {
    let newest = inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
    Ok(newest.first().map(|newest| newest.id.saturating_add(1)))
}

/// Replays the oldest first, so that the deliveries of one entity keep their order, and in steps that let a running
/// receiver go first.
async fn replay(
    inbox: &dyn Inbox,
    filter: Filter,
    act: Replay,
    subject: String,
) -> anyhow::Result<u64> {
    if act == Replay::DryRun {
        return replay_all(inbox, filter, act, None).await;
    }
    let kind = if act == Replay::Resume { ActKind::Resume } else { ActKind::Replay };
    let total = filter.ids.len() as u64;
    let mut record = ActRecord::begin(inbox, kind, subject, None, total).await?;
    let replayed = replay_all(inbox, filter, act, Some(&mut record)).await;
    record.end(replayed).await
}

async fn replay_all(
    inbox: &dyn Inbox,
    filter: Filter,
    act: Replay,
    mut record: Option<&mut ActRecord<'_>>,
) -> anyhow::Result<u64> {
    let Some(before) = bound(inbox).await? else { return Ok(0) };
    let mut rest = Filter { before: Some(before), limit: Some(READ), ..filter.clone() };
    let mut replayed = 0;
    loop {
        let ids = inbox.replayable(rest.clone()).await?;
        let Some(last) = ids.last() else { return Ok(replayed) };
        rest.after = Some(*last);
        let Some(record) = &mut record else {
            replayed += ids.len() as u64;
            continue;
        };
        for ids in ids.chunks(STEP_ROWS) {
            let step = Filter { ids: ids.to_vec(), ..filter.clone() };
            let step = throttled_step(|| match act {
                Replay::Resume => inbox.resume(step.clone()),
                _ => inbox.replay(step.clone()),
            })
            .await?;
            replayed += step;
            record.add(step).await?;
        }
    }
}

/// Discards in steps that let a running receiver go first; without a record it only counts.
async fn discard(
    inbox: &dyn Inbox,
    filter: Filter,
    reason: &str,
    mut record: Option<&mut ActRecord<'_>>,
) -> anyhow::Result<u64> {
    let Some(before) = bound(inbox).await? else { return Ok(0) };
    let states = State::ALL.into_iter().filter(|state| state.can_be_discarded());
    let states = states.filter(|state| filter.state.is_none_or(|wanted| wanted == *state));
    let mut discarded = 0;
    for state in states {
        let filter = Filter { state: Some(state), ..filter.clone() };
        let order = Order::OldestFirst;
        let mut rest =
            Filter { before: Some(before), limit: Some(LISTED), order, ..filter.clone() };
        loop {
            let entries = inbox.list(rest.clone()).await?;
            let Some(last) = entries.last() else { break };
            rest.after = Some(last.id);
            let Some(record) = &mut record else {
                discarded += entries.len() as u64;
                continue;
            };
            for entries in entries.chunks(STEP_ROWS) {
                let ids = entries.iter().map(|entry| entry.id).collect();
                let step = Filter { ids, ..filter.clone() };
                let step =
                    throttled_step(|| inbox.discard(step.clone(), reason.to_owned())).await?;
                discarded += step;
                record.add(step).await?;
            }
        }
    }
    Ok(discarded)
}

/// The reason why fewer deliveries were changed than were named.
async fn left_alone(
    inbox: &dyn Browse,
    ids: &[DeliveryId],
    changed: u64,
    only: &str,
) -> anyhow::Result<String> {
    let known = inbox.list(Filter { ids: ids.to_vec(), ..Filter::default() }).await?;
    let missing = ids.iter().filter(|id| known.iter().all(|entry| entry.id != **id));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    Ok(match missing.is_empty() {
        false => format!("not in the inbox: {}", missing.join(", ")),
        true => {
            let left = ids.len() as u64 - changed;
            format!("{left} of the named deliveries were left alone: {only}")
        }
    })
}

async fn prune(
    inbox: &dyn Inbox,
    state: State,
    older_than: std::time::Duration,
    record: &mut ActRecord<'_>,
) -> anyhow::Result<u64> {
    let mut pruned = 0;
    while let step @ 1.. = throttled_step(|| inbox.prune(state, older_than, STEP_ROWS)).await? {
        pruned += step;
        record.add(step).await?;
    }
    Ok(pruned)
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
