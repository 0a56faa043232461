//! Loading of the settings from a file and the environment, with suggestions for unknown names.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use contract::event::without_value;
use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use super::{Config, ConfigError, secrets};

const PREFIX: &str = "RECEIVER_";

/// The default settings file.
const DEFAULT_FILE: &str = "receiver.toml";

/// The variable that names the settings file, which is no setting.
const CONFIG_FILE: &str = "RECEIVER_CONFIG";

/// The variable with the emitter's bearer key, which is no setting.
pub const EMIT_TOKEN: &str = "RECEIVER_EMIT_TOKEN";

/// The variable with the emitter's signing key, which is no setting.
pub const EMIT_SIGNING_KEY: &str = "RECEIVER_EMIT_SIGNING_KEY";

/// The variable with the URL of the inbox that `inbox copy` copies, which is no setting.
pub const COPY_FROM: &str = "RECEIVER_COPY_FROM";

/// The variable with the URL of the inbox that `inbox copy` makes, which is no setting.
pub const COPY_TO: &str = "RECEIVER_COPY_TO";

const NOT_SETTINGS: [&str; 5] = [CONFIG_FILE, EMIT_TOKEN, EMIT_SIGNING_KEY, COPY_FROM, COPY_TO];

/// Settings from the command line; they override all others.
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
    pub inbox: Option<SecretString>,
}

/// The settings from the file, the environment and the command line.
///
/// # Errors
/// [`ConfigError`] with the setting and the reason.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
    SettingsText::read(overrides)?.parse()
}

/// The settings file, read but not yet parsed: an unreadable file and an invalid one are different errors.
#[derive(Debug)]
pub struct SettingsText<'o> {
    text: SecretString,
    overrides: &'o Overrides,
}

impl<'o> SettingsText<'o> {
    /// Reads the file named on the command line, or else `receiver.toml`, if it exists.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be read.
    pub fn read(overrides: &'o Overrides) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let text = match &overrides.config {
            Some(file) => read(file)?,
            None if default.exists() => read(default)?,
            None => String::new(),
        };
        Ok(SettingsText { text: text.into(), overrides })
    }

    /// True if the file has this section.
    pub fn has_section(&self, name: &str) -> bool {
        let table = self.text.expose_secret().parse::<Table>();
        table.is_ok_and(|table| table.contains_key(name))
    }

    /// Parses the settings, overridden by the environment and the command line.
    ///
    /// # Errors
    /// [`ConfigError`] with the setting and the reason, or if every user of this machine can change the file.
    pub fn parse(&self) -> Result<Config, ConfigError> {
        let file = self.overrides.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        let text = self.text.expose_secret();
        secrets::check_writers(file).map_err(ConfigError)?;
        let mut config = parse(text, variables()?, &file.display().to_string())?;
        if let Some(listen) = self.overrides.listen {
            config.listen = listen;
        }
        if let Some(inbox) = &self.overrides.inbox {
            config.inbox.clone_from(inbox);
        }
        Ok(config)
    }
}

/// The settings in `text`, overridden by the variables whose names begin with `RECEIVER_`.
///
/// Two underscores separate the levels: `RECEIVER_LIMITS__MAX_BODY` is `max_body` in `[limits]`.
///
/// # Errors
/// [`ConfigError`] with the location (`name` and line, or the variable) and, for an unknown setting, the nearest one.
pub fn parse(
    text: &str,
    vars: impl IntoIterator<Item = (String, String)>,
    name: &str,
) -> Result<Config, ConfigError> {
    let vars: Vec<_> = vars.into_iter().filter(|(key, _)| is_setting(key)).collect();
    if vars.is_empty() {
        return toml::from_str(text).map_err(|error| in_file(text, name, &error));
    }
    let mut table: Table = toml::from_str(text).map_err(|error| in_file(text, name, &error))?;
    for (key, value) in &vars {
        set(&mut table, &key[PREFIX.len()..], typed(value));
    }
    overlaid(table, &vars).map_err(|error| match toml::from_str::<Config>(text) {
        // An error in the file itself is reported with its line.
        Err(in_text) if error.variable.is_none() => in_file(text, name, &in_text),
        _ => ConfigError(error.to_string()),
    })
}

fn is_setting(key: &str) -> bool {
    key.starts_with(PREFIX) && !NOT_SETTINGS.contains(&key)
}

/// The settings in the environment. Other variables may hold any bytes.
fn variables() -> Result<Vec<(String, String)>, ConfigError> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value)))
        .filter(|(key, _)| is_setting(key))
        .map(|(key, value)| match value.into_string() {
            Ok(value) => Ok((key, value)),
            Err(_) => Err(ConfigError(format!("environment variable {key}: not UTF-8"))),
        })
        .collect()
}

fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| {
        ConfigError(format!("cannot read the settings file {}: {error}", file.display()))
    })
}

/// An error in the combination of file and variables.
struct OverlayError<'v> {
    /// The variable at fault; none if the file is.
    variable: Option<&'v str>,
    path: String,
    message: String,
}

impl std::fmt::Display for OverlayError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.variable {
            Some(key) => write!(f, "environment variable {key}: {}", self.message),
            None if lacks_dialect(&self.message) => write!(
                f,
                "[{}]: {}, or set {PREFIX}{}__DIALECT=directscale",
                self.path,
                self.message,
                as_variable(&self.path)
            ),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// The settings of file and variables combined, independent of the variables' order.
fn overlaid<'v>(
    mut table: Table,
    vars: &'v [(String, String)],
) -> Result<Config, OverlayError<'v>> {
    let mut texts = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let message = error.inner().message();
        let culprit = vars.iter().find(|(key, _)| sets(key, &path) && !is_missing(message));
        match culprit {
            // A key or a name may consist of digits: a value that does not fit as a number is text.
            Some((key, value)) if is_scalar(value) && !texts.contains(key) => {
                set(&mut table, &key[PREFIX.len()..], Value::String(value.clone()));
                texts.push(key.clone());
            }
            _ => {
                let variable = culprit.map(|(key, _)| key.as_str());
                return Err(OverlayError { variable, path, message: hint(message) });
            }
        }
    }
}

/// True if the variable sets `path` or a part of it.
fn sets(key: &str, path: &str) -> bool {
    let setting = as_variable(path);
    key[PREFIX.len()..]
        .to_uppercase()
        .strip_prefix(&setting)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
}

/// The name of `limits.max_body` within a variable's name.
fn as_variable(path: &str) -> String {
    let path = path.split('[').next().unwrap_or_default();
    path.replace('.', "__").replace('-', "_").to_uppercase()
}

/// The reason without the line's text, which may hold a secret.
fn in_file(text: &str, name: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
    let reason = match error.span().and_then(|span| key_before(&text[..span.start])) {
        Some(key) if error.message().starts_with("unknown variant") => {
            format!("{key}: {}", hint(error.message()))
        }
        _ => hint(error.message()),
    };
    ConfigError(format!("{name}, line {line}: {reason}"))
}

/// The key of the value that begins at the end of the text.
fn key_before(text: &str) -> Option<&str> {
    let (line, _) = text.rsplit('\n').next()?.rsplit_once('=')?;
    let key = line.trim_end().rsplit(|c: char| !is_in_key(c)).next()?;
    (!key.is_empty()).then_some(key)
}

/// True for a character of a setting's name.
fn is_in_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Serde's message without the invalid value, and with a correction.
fn hint(message: &str) -> String {
    let message = message.trim_end();
    if lacks_dialect(message) {
        return format!("{message}; write for example dialect = \"directscale\"");
    }
    let Some((wrong, known)) =
        message.strip_prefix("unknown ").and_then(|rest| rest.rsplit_once(", expected "))
    else {
        return without_value(message);
    };
    let (kind, wrong) = wrong.split_once(' ').unwrap_or((wrong, ""));
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let list = match names.len() > MOST_NAMES {
        true => "; `webhook-receiver connect` lists the known ones".to_owned(),
        false => format!(", expected {known}"),
    };
    match (kind, meant(wrong.trim_matches('`'), &names)) {
        (_, Some(nearest)) => format!("unknown {kind} {wrong}{list}; did you mean `{nearest}`?"),
        ("field", None) => message.to_owned(),
        // A value unlike all known ones may be a misplaced key.
        (_, None) => format!("unknown value{list}"),
    }
}

/// The most names that an error lists.
const MOST_NAMES: usize = 30;

/// The known name that was meant: one that begins so, or the nearest.
fn meant<'n>(wrong: &str, names: &[&'n str]) -> Option<&'n str> {
    // `hmac-sha384` is another algorithm than `hmac-sha256`, not a misspelt one.
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let begins = names.iter().filter(|name| wrong.len() > 2 && name.starts_with(wrong));
    let mut begins = begins.copied();
    match (begins.next(), begins.next()) {
        (Some(only), None) => Some(only),
        _ => {
            let nearest = text::nearest(wrong, names.iter().copied(), 0.7);
            nearest.filter(|nearest| digits(nearest) == digits(wrong))
        }
    }
}

fn lacks_dialect(message: &str) -> bool {
    message.starts_with("missing field `dialect`")
}

fn is_missing(message: &str) -> bool {
    message.starts_with("missing field")
}

/// Inserts a variable's value at its path.
fn set(table: &mut Table, path: &str, value: Value) {
    let (key, rest) = match path.split_once("__") {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let key = existing(table, key).unwrap_or_else(|| key.to_lowercase());
    match rest {
        None => {
            table.insert(key, value);
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

/// A variable's name cannot contain a hyphen, a source's can.
fn existing(table: &Table, key: &str) -> Option<String> {
    table.keys().find(|known| known.replace('-', "_").eq_ignore_ascii_case(key)).cloned()
}

/// Text in the form of a TOML number, boolean or list is parsed as one; other text is a string.
fn typed(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(value) if value.is_array() || is_scalar(text) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn is_scalar(text: &str) -> bool {
    text.parse::<Value>()
        .is_ok_and(|value| value.is_integer() || value.is_float() || value.is_bool())
}
