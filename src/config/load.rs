//! Reads the settings from a file and the environment, and says of an unknown one which is nearest.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, ConfigError};

const PREFIX: &str = "RECEIVER_";

/// Names the file itself, so it is no setting.
const CONFIG_FILE: &str = "RECEIVER_CONFIG";

/// Holds the emitter's key, so it is no setting.
pub(crate) const EMIT_TOKEN: &str = "RECEIVER_EMIT_TOKEN";

const NOT_SETTINGS: [&str; 2] = [CONFIG_FILE, EMIT_TOKEN];

/// Settings from the command line; they win over all others.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Settings file [default: receiver.toml if there is one]
    #[arg(long, short, env = CONFIG_FILE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, e.g. 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Inbox, e.g. sqlite:data/inbox.db
    #[arg(long, value_name = "URL")]
    pub inbox: Option<String>,
}

/// The settings from the file, the environment and the command line.
///
/// # Errors
/// [`ConfigError`] with the setting and the reason.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
    let text = match &overrides.config {
        Some(file) => read(file)?,
        None if Path::new("receiver.toml").exists() => read(Path::new("receiver.toml"))?,
        None => String::new(),
    };
    let file = overrides.config.as_deref().unwrap_or(Path::new("receiver.toml"));
    let mut config = parse(&text, std::env::vars(), &file.display().to_string())?;
    if let Some(listen) = overrides.listen {
        config.listen = listen;
    }
    if let Some(inbox) = &overrides.inbox {
        config.inbox.clone_from(inbox);
    }
    Ok(config)
}

/// The settings in `text`, overlaid with those variables whose name begins with `RECEIVER_`.
///
/// Two underscores separate the levels: `RECEIVER_LIMITS__MAX_BODY` is `max_body` in `[limits]`.
///
/// # Errors
/// [`ConfigError`] with the place (`name` and line, or the variable) and, for an unknown setting, the nearest one.
pub fn parse(
    text: &str,
    vars: impl IntoIterator<Item = (String, String)>,
    name: &str,
) -> Result<Config, ConfigError> {
    let config = toml::from_str::<Config>(text).map_err(|error| in_file(text, name, &error))?;
    let vars: Vec<_> = vars
        .into_iter()
        .filter(|(key, _)| key.starts_with(PREFIX) && !NOT_SETTINGS.contains(&key.as_str()))
        .collect();
    if vars.is_empty() {
        return Ok(config);
    }
    let mut table: Table = toml::from_str(text).map_err(|error| in_file(text, name, &error))?;
    let mut config = config;
    for (key, value) in vars {
        set(&mut table, &key[PREFIX.len()..], value);
        config = table.clone().try_into().map_err(|error: toml::de::Error| {
            ConfigError(format!("environment variable {key}: {}", hint(error.message())))
        })?;
    }
    Ok(config)
}

fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| {
        ConfigError(format!("cannot read the settings file {}: {error}", file.display()))
    })
}

/// The reason without the line's text, which may hold a secret.
fn in_file(text: &str, name: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
    ConfigError(format!("{name}, line {line}: {}", hint(error.message())))
}

/// Adds the nearest known name to serde's message about an unknown one.
fn hint(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = match (message.starts_with("unknown "), quoted.next()) {
        (true, Some(unknown)) => quoted
            .map(|known| (strsim::jaro_winkler(&unknown.to_lowercase(), known), known))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0)),
        _ => None,
    };
    let message = message.trim_end();
    match nearest {
        Some((_, known)) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// Puts a variable's value at its place. What reads as a TOML number, boolean or list is one; the rest is text.
fn set(table: &mut Table, path: &str, value: String) {
    let (key, rest) = match path.split_once("__") {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let key = existing(table, key).unwrap_or_else(|| key.to_lowercase());
    match rest {
        None => {
            table.insert(key, typed(value));
        }
        Some(rest) => {
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// A variable cannot have a hyphen in its name, a source can.
fn existing(table: &Table, key: &str) -> Option<String> {
    table.keys().find(|known| known.replace('-', "_").eq_ignore_ascii_case(key)).cloned()
}

fn typed(text: String) -> Value {
    match toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut t| t.remove("value"))
    {
        Some(
            value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Array(_)),
        ) => value,
        _ => Value::String(text),
    }
}
