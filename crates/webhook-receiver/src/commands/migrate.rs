//! `migrate`: makes the schema of an inbox on PostgreSQL, or brings it up to date.

use std::process::ExitCode;

use anyhow::bail;
use inbox::Migration;
use serde_json::json;
use settings::Overrides;

use super::print;

/// The flags of `migrate`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver migrate --inbox postgres://owner@db.example/inbox\n  \
    webhook-receiver migrate --dry-run          # prints the statements\n\n\
    Nothing else changes the schema. Receivers and workers of the version before work with the new one, so that they can be\n\
    replaced one by one afterwards. A step waits 2 s at most for a table that is in use; then nothing is changed.")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    /// Only print the statements
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = super::inbox_url(&settings::load(&args.settings)?)?;
    let Some(Migration { from, to, statements }) = inbox::migrate(&url, args.dry_run).await? else {
        bail!(
            "{url} is a file, which its receiver brings up to date when it starts; `migrate` is for an inbox on PostgreSQL: set RECEIVER_INBOX"
        );
    };
    let sql = statements.join("\n");
    print(match (args.json, args.dry_run) {
        (true, true) => json!({ "from": from, "to": to, "statements": statements }).to_string(),
        (true, false) => json!({ "from": from, "to": to }).to_string(),
        (false, _) if from == to => format!("{url}: version {to}, nothing to do"),
        (false, true) => {
            format!("-- from version {from} to {to}, in the schema webhook_inbox\n{sql}")
        }
        (false, false) => format!("{url}: from version {from} to {to}"),
    })?;
    Ok(ExitCode::SUCCESS)
}
