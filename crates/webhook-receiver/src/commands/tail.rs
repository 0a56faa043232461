//! `tail`: follows the inbox beside a running receiver.

use std::io::{IsTerminal as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use contract::event::DeliveryId;
use inbox::{Entry, Filter, Follower, Inbox, State};
use telemetry::print_error;
use text::inert;

use super::browse::InboxArgs;
use super::inbox::DeliveryFilterArgs;
use super::inbox::print::{named, note};
use super::{print, print_styled, time};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// The flags of `tail`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver tail\n  \
    webhook-receiver tail --source orders --last 20\n  \
    webhook-receiver tail --state dead --json\n\n\
    Prints each delivery when it arrives, and again when an attempt of it has failed or it has ended. It goes on when the inbox\n\
    was unavailable for a while, and ends with Ctrl-C; then it says how to go on.")]
pub(crate) struct Args {
    #[command(flatten)]
    selection: DeliveryFilterArgs,
    /// Begin after this delivery [default: now]
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    after: Option<DeliveryId>,
    /// Print the latest ones first
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    #[command(flatten)]
    inbox_args: InboxArgs,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { selection, after, last, inbox_args } = args;
    let filter = selection.filter();
    let mut output = Output { json: inbox_args.json, has_header: false };
    let inbox = inbox_args.open().await?;
    let after = match after {
        Some(after) => after,
        None => begin(inbox.as_ref(), &filter, last).await?,
    };
    let mut follower = Follower::new(after).with_filter(filter);
    let followed = tokio::select! {
        followed = follow(inbox.as_ref(), &mut follower, &mut output) => followed,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
    };
    followed?;
    print_error(format!("go on with: --after {}", follower.position()));
    Ok(ExitCode::SUCCESS)
}

/// The delivery after which to begin, so that the latest matching ones are printed.
async fn begin(
    inbox: &dyn Inbox,
    filter: &Filter,
    last: Option<usize>,
) -> anyhow::Result<DeliveryId> {
    let newest = inbox.list(Filter { limit: Some(1), ..Filter::default() }).await?;
    let newest = newest.first().map_or(0, |newest| newest.id);
    let Some(limit @ 1..) = last else { return Ok(newest) };
    let latest = inbox.list(Filter { limit: Some(limit), ..filter.clone() }).await?;
    Ok(latest.last().map_or(newest, |oldest| oldest.id - 1))
}

/// Prints what arrives and changes, for as long as somebody reads it.
async fn follow(
    inbox: &dyn Inbox,
    follower: &mut Follower,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut is_available = true;
    loop {
        match follower.next(inbox).await {
            Ok(entries) => {
                if !is_available {
                    print_error("the inbox is available again".to_owned());
                }
                is_available = true;
                for entry in &entries {
                    output.print(entry)?;
                }
                if !follower.is_up_to_date() {
                    continue;
                }
            }
            Err(error) if is_available => {
                is_available = false;
                print_error(format!(
                    "{}; it is tried again until it is available",
                    inert(&error.to_string())
                ));
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The lines.
struct Output {
    json: bool,
    has_header: bool,
}

impl Output {
    fn print(&mut self, entry: &Entry) -> anyhow::Result<()> {
        if self.json {
            return Ok(print(serde_json::to_string(entry)?)?);
        }
        if !self.has_header {
            self.has_header = true;
            let [id, state, source, event] = ["ID", "STATE", "SOURCE", "EVENT"];
            let [message, accepted, attempts] = ["MESSAGE ID", "ACCEPTED", "ATTEMPTS"];
            print(format!(
                "{id:>8}  {state:<8}  {source:<12}  {event:<24}  {message:<36}  {accepted:<24}  {attempts:>8}  NOTE"
            ))?;
        }
        let [source, event, message, note] =
            [entry.source.as_str(), &named(&entry.event_type), &entry.message_id, &note(entry)]
                .map(|cell| inert(cell).into_owned());
        let state = coloured(entry.state);
        let (id, accepted, attempts) = (entry.id, time(entry.received_at), entry.attempts);
        let line = format!(
            "{id:>8}  {state}  {source:<12}  {event:<24}  {message:<36}  {accepted:<24}  {attempts:>8}  {note}"
        );
        Ok(print_styled(line.trim_end())?)
    }
}

/// The name of a state, in a colour on a terminal.
fn coloured(state: State) -> String {
    let name = format!("{:<8}", state.as_str());
    let colour = match state {
        State::Done => "32",
        State::Dead => "31",
        State::Unrouted => "33",
        State::Ready | State::Running | State::Canary => "36",
    };
    match stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\u{1b}[{colour}m{name}\u{1b}[0m"),
        false => name,
    }
}
