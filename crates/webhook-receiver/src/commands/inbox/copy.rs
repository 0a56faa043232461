//! `inbox copy`: moves an inbox to another store.

use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use inbox::{Copied, InboxUrl};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use settings::{COPY_FROM, COPY_TO};

use crate::commands::{plain, print};

/// The flags of `inbox copy`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver inbox copy --from sqlite:data/inbox.db --to postgres://owner@db.example/inbox\n  \
    webhook-receiver inbox copy --from postgres://owner@db.example/inbox --to sqlite:data/inbox.db\n\n\
    Stop every receiver and worker of both inboxes first. Ids, states, attempts, the ids that are known, the hook log and\n\
    the acts of operators stay the same; tallies and a pause stay behind. The inbox that is copied stays as it is. An\n\
    interrupted copy goes on when the command is given again. A URL with a password is best given as a variable. Exit code 1\n\
    if the numbers of rows differ at the end.")]
pub(super) struct CopyArgs {
    /// URL of the inbox to copy
    #[arg(long, value_name = "URL", env = COPY_FROM, hide_env_values = true)]
    from: SecretString,
    /// URL of a new inbox; a database needs its schema first, by `migrate`
    #[arg(long, value_name = "URL", env = COPY_TO, hide_env_values = true)]
    to: SecretString,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: CopyArgs) -> anyhow::Result<ExitCode> {
    let from = InboxUrl::parse(&args.from).context("--from")?;
    let to = InboxUrl::parse(&args.to).context("--to")?;
    let bar = progress_bar();
    let copying = inbox::copy(&from, &to, |rows, total| {
        bar.set_length(total);
        bar.set_position(rows);
    });
    let copied = tokio::select! {
        copied = copying => copied,
        _ = tokio::signal::ctrl_c() => {
            let (rows, total) = (bar.position(), bar.length().unwrap_or_default());
            Err(anyhow!("interrupted after {rows} of {total} rows; the same command goes on with it"))
        }
    };
    bar.finish_and_clear();
    let copied = copied?;
    print(if args.json { json_of(&copied).to_string() } else { text(&copied) })?;
    Ok(if copied.from == copied.to { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress_bar() -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} rows, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn text(copied: &Copied) -> String {
    let mut table = plain();
    table.set_header(["", "FROM", "TO"]);
    for ((name, from), (_, to)) in copied.from.rows().zip(copied.to.rows()) {
        table.add_row([name.to_owned(), from.to_string(), to.to_string()]);
    }
    let before = match copied.before {
        0 => String::new(),
        rows => format!(", {rows} were there from an earlier copy"),
    };
    let result = match copied.from == copied.to {
        true => "the numbers of rows are the same",
        false => {
            "the numbers of rows DIFFER: one of the two inboxes is in use, or was after an earlier copy"
        }
    };
    format!("{table}\n{} deliveries and hook calls copied{before}; {result}", copied.rows)
}

fn json_of(copied: &Copied) -> Value {
    let counts = |census: &inbox::Census| -> Map<String, Value> {
        census.rows().map(|(name, count)| (name.replace(' ', "_"), count.into())).collect()
    };
    json!({
        "copied": copied.rows,
        "before": copied.before,
        "same": copied.from == copied.to,
        "from": counts(&copied.from),
        "to": counts(&copied.to),
    })
}
