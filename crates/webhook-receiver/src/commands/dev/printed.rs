//! The text that `dev` prints: addresses, and commands that run as printed, however it was started.

use std::fmt;
use std::path::Path;

use contract::catalog::{EventRow, Table};
use contract::event::Dialect;
use reqwest::Url;
use settings::Config;

use super::bus;

/// The text on standard output at the start.
pub(super) struct Welcome<'w> {
    pub(super) config: &'w Config,
    pub(super) table: &'w Table,
    pub(super) token: &'w Path,
    pub(super) file: &'w Path,
    /// The address of the stand-in for the vendor, if there is one.
    pub(super) vendor: Option<&'w Url>,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.config.listen;
        let bus = match bus::IS_THERE {
            true => format!(
                "  Bus        http://{}/admin, with one subscription for each event, which posts it to the receiver\n",
                self.config.bus.listen
            ),
            false => String::new(),
        };
        let console = match cfg!(feature = "console") && self.config.console.enabled {
            true => format!("  Console    http://{address}/console\n"),
            false => String::new(),
        };
        let vendor = self.vendor.map_or_else(String::new, |url| {
            format!("  Vendor     {url} stands in for it: callbacks of hooks, Extension API\n")
        });
        let (token, file, program) = (quoted(self.token), quoted(self.file), program());
        writeln!(
            f,
            r"
  Swagger    http://{address}/swagger
{console}  Key        in {token}; paste it after Authorize in Swagger
{bus}{vendor}  Settings   {file}; other commands take them with --config
  Stop       Ctrl-C

  Send every event once, and look at what arrived:

{program} emit --all --config {file}
{program} inbox list --config {file}"
        )?;
        let is_sent = |row: &&EventRow| row.dialect == Dialect::DirectScale && row.version == 1;
        let first = |name: &str| {
            let named = self.table.event(Dialect::DirectScale, 1, name);
            named.or_else(|| self.table.events().find(is_sent))
        };
        if let Some(row) = first("OrderEvent").filter(|_| bus::IS_THERE) {
            writeln!(
                f,
                "\n  Or let the bus do it, as the vendor would, with its retries:\n\n{program} publish {} --config {file}",
                row.name
            )?;
        }
        let hook = self.table.hook("Autoships.CreateAutoship").or(self.table.hooks().next());
        if let Some(hook) = hook {
            writeln!(
                f,
                "\n  Call a Process Hook, and see what it changes:\n\n{program} emit --hook {} --config {file}",
                hook.id
            )?;
        }
        if let Some(row) = first("CreateOrderEvent") {
            let (id, body) = (uuid::Uuid::new_v4(), row.example.replace('\'', r"'\''"));
            writeln!(
                f,
                r#"
  Send the vendor's own sample by hand (twice: the second answer says duplicate):

curl http://{address}/api/webhooks/{} \
  -H "Authorization: Bearer $(cat {token})" \
  -H 'Content-Type: application/json; charset=UTF-8' \
  -H 'X-Directscale-Message-Id: {id}' \
  -d '{body}'"#,
                contract::catalog::segment(row.name)
            )?;
        }
        Ok(())
    }
}

/// The command that runs this program again, from the folder in which it was started: through cargo, by path, or by name.
fn program() -> String {
    let started = std::env::args().next().unwrap_or_default();
    let here = std::env::current_dir().unwrap_or_default();
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) if here.starts_with(&folder) => "cargo run --".to_owned(),
        Some(folder) => {
            let manifest = Path::new(&folder).join("Cargo.toml");
            format!("cargo run --manifest-path {} --", quoted(&manifest))
        }
        None if started.contains('/') => {
            let path = std::path::absolute(&started).unwrap_or_else(|_| started.into());
            quoted(&path)
        }
        None => started,
    }
}

/// The path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
