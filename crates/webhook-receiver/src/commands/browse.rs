//! Shared parts of the inbox commands: arguments, times, output files, and safe printing.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write, stdout};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, NaiveDate, TimeDelta};
use contract::time::Timestamp;
use inbox::{Backup, Inbox, InboxUrl, Options, exists};
use serde_json::json;
use settings::Overrides;
use text::inert;

/// The number of rows that are read at once.
pub(super) const PAGE: usize = 500;

/// The arguments that choose the inbox and the output format.
#[derive(clap::Args)]
pub(super) struct InboxArgs {
    #[command(flatten)]
    pub(super) settings: Overrides,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl InboxArgs {
    pub(super) async fn open(&self) -> anyhow::Result<Arc<dyn Inbox>> {
        inbox::open(&self.existing()?, Options::command()).await
    }

    /// The URL of an existing inbox.
    pub(super) fn existing(&self) -> anyhow::Result<InboxUrl> {
        let url = super::inbox_url(&settings::load(&self.settings)?)?;
        ensure!(
            exists(&url),
            "there is no inbox at {url}; name it with --inbox sqlite:PATH or --config FILE"
        );
        Ok(url)
    }
}

/// Prints the result of a backup.
pub(super) fn print_backup(
    file: &Path,
    what: &str,
    backup: Backup,
    json: bool,
) -> anyhow::Result<()> {
    let Backup { rows, bytes } = backup;
    super::print(match json {
        true => {
            json!({ "file": file.display().to_string(), what: rows, "bytes": bytes }).to_string()
        }
        false => format!("{}: {rows} {what}, {bytes} bytes", file.display()),
    })?;
    Ok(())
}

/// Parses a time, a day, or a duration before now.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = TimeDelta::from_std(ago).map_err(|error| error.to_string())?;
        return contract::time::now()
            .checked_sub_signed(ago)
            .ok_or_else(|| "too long ago".to_owned());
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "write 2h, 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())
}

/// Opens a file that only its owner can read, or standard output.
pub(super) fn open_output(output: Option<PathBuf>) -> anyhow::Result<impl Write> {
    let lines: Box<dyn Write + Send> = match output {
        Some(file) => Box::new(
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&file)
                .with_context(|| format!("cannot write {}", file.display()))?,
        ),
        None => Box::new(stdout()),
    };
    Ok(BufWriter::new(lines))
}

/// Prints the number of deleted rows.
pub(super) fn print_pruned(what: &str, pruned: u64, json: bool) -> anyhow::Result<()> {
    super::print(match json {
        true => json!({ "pruned": pruned }).to_string(),
        false => format!("{pruned} {what} deleted"),
    })?;
    Ok(())
}

/// The cells of a table's row, made safe to print.
pub(super) fn cells<const N: usize>(row: [String; N]) -> [String; N] {
    row.map(|cell| inert(&cell).into_owned())
}
