//! `check`: checks the settings as `serve` would, without serving.

use std::process::ExitCode;

use serde_json::{Value, json};
use server::login::Login;
use settings::{Config, Overrides, SettingsText, Warning};
use source::{Source, is_secret};

use super::{bus, plain, print};

const EXAMPLES: &str = "\
Examples:
  Before a start, or after a change:
    webhook-receiver check --config receiver.toml

  In a deployment, with the variables and flags of the receiver; nothing is opened, no port is taken:
    RECEIVER_LIMITS__MAX_BODY=2097152 webhook-receiver check --listen 0.0.0.0:8080

  Only the warnings, for a script:
    webhook-receiver check --json | jq -r '.warnings[] | .setting + \": \" + .remedy'

Exit code: 0 if the receiver would start, also with warnings; 1 if it would refuse to, or the bus would because of its keys; 2 if the settings could not be read.";

const JSON_HELP: &str = "\
Print one JSON object instead of text

Keys: sources [{name, dialect, environment, path, auth, keys}], those that would be served, keys being the number of accepted \
ones; refused [text]; warnings [{setting, reason, remedy}].";

/// The flags of `check`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
    #[arg(long, help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    json: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = SettingsText::read(&args.settings)?;
    let report = match text.parse() {
        Ok(config) if config.sources.is_empty() && text.has_section("bus") => {
            SettingsReport::of_the_bus(&config)
        }
        Ok(config) => SettingsReport::of(&config),
        Err(error) => {
            SettingsReport { refused: vec![error.to_string()], ..SettingsReport::default() }
        }
    };
    match args.json {
        true => print(serde_json::to_string_pretty(&report.json())?)?,
        false => report.print()?,
    }
    Ok(if report.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report on some settings.
#[derive(Default)]
struct SettingsReport {
    sources: Vec<Value>,
    refused: Vec<String>,
    warnings: Vec<Warning>,
}

impl SettingsReport {
    /// The report on settings with which only the bus can run.
    fn of_the_bus(config: &Config) -> Self {
        let with_sources = SettingsReport::of(config);
        let (_, unusable) = config.examine();
        let refused = with_sources.refused.into_iter().skip(unusable.len()).collect();
        let warning = Warning {
            setting: "sources".into(),
            reason: "there is none, so that `bus` would start, and `serve` would not".into(),
            remedy: "nothing is missing for the bus".into(),
        };
        let warnings = std::iter::once(warning).chain(with_sources.warnings).collect();
        SettingsReport { refused, warnings, ..with_sources }
    }

    fn of(config: &Config) -> Self {
        let (sources, unusable) = config.examine();
        let hooks = config.hook_sites(&sources).err().filter(|_| unusable.is_empty());
        let others = [
            hooks.map(Into::into),
            config.check().err().map(Into::into),
            config.bus.check_key_files().err().map(Into::into),
            super::inbox_url(config).err(),
            Login::new(&config.docs).err().map(Into::into),
            super::console_refusal(config).map(Into::into),
            telemetry::filter(&config.log).err(),
        ];
        let unusable = unusable.iter().map(ToString::to_string);
        let others = others.iter().flatten().map(|error| format!("{error:#}"));
        SettingsReport {
            sources: sources.iter().map(|source| row(config, source)).collect(),
            refused: unusable.chain(others).chain(bus::refusals(config)).collect(),
            warnings: config.warnings(),
        }
    }

    fn json(&self) -> Value {
        json!({ "sources": self.sources, "refused": self.refused, "warnings": self.warnings })
    }

    fn print(&self) -> std::io::Result<()> {
        if !self.sources.is_empty() {
            let mut table = plain();
            table.set_header(COLUMNS.map(str::to_uppercase));
            table.add_rows(self.sources.iter().map(|row| COLUMNS.map(|name| cell(&row[name]))));
            print(format!("{table}\n"))?;
        }
        self.refused.iter().try_for_each(|reason| print(format!("refused: {reason}")))?;
        self.warnings.iter().try_for_each(|warning| print(format!("warning: {warning}")))?;
        print(match (self.refused.len(), self.warnings.len()) {
            (0, 0) => "ok".to_owned(),
            (refused, 1) => format!("{refused} refused, 1 warning"),
            (refused, warnings) => format!("{refused} refused, {warnings} warnings"),
        })
    }
}

const COLUMNS: [&str; 6] = ["name", "dialect", "environment", "path", "auth", "keys"];

/// A source as it would be served.
fn row(config: &Config, source: &Source) -> Value {
    json!({
        "name": source.name,
        "dialect": source.dialect,
        "environment": source.environment,
        "path": public_path(source),
        "auth": config.sources[&source.name].auth_kind(),
        "keys": source.auth.keys().count(),
    })
}

/// The path without its secret segments, if they alone authenticate the sender.
fn public_path(source: &Source) -> String {
    let hides = |segment: &str| source.auth.is_none() && is_secret(segment);
    let shown = |segment| if hides(segment) { "[secret]" } else { segment };
    source.path.split('/').map(shown).collect::<Vec<_>>().join("/")
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
