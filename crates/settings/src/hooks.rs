//! Hook routes from a source's `hooks` section: the path of its Process Hooks and the callback to its vendor.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contract::event::Dialect;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use source::Source;
use source::{CallbackApi, ExtensionClient, HookRoute, Recording, SECRET_MEMBERS, Unhandled};

use super::check::{MAX_COUNT, normal_path, overlap, refuse};
use super::{Config, ConfigError, SourceConfig, duration, is_local, one_or_many};

/// A source's Process Hooks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HooksConfig {
    /// The path of the hooks.
    pub path: String,
    /// The URL of the vendor's system, which runs its own logic when a handler proceeds.
    pub callback_url: Option<String>,
    /// The vendor's key for the callback.
    pub callback_key: Option<SecretString>,
    /// A file with that key.
    pub callback_key_file: Option<PathBuf>,
    /// The deadline of a call, its callback included.
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
    /// The most concurrent calls.
    pub concurrency: usize,
    /// The treatment of a hook without a handler.
    pub unhandled: Unhandled,
    /// True to record the bodies of calls.
    pub record_bodies: bool,
    /// Fields whose values are redacted in recorded bodies, in any case; a leading `*` matches any beginning.
    #[serde(deserialize_with = "one_or_many")]
    pub redact: Vec<String>,
    /// The path of the fork's own pages, authenticated by the vendor's page tokens.
    pub pages: Option<String>,
}

impl Default for HooksConfig {
    fn default() -> Self {
        HooksConfig {
            path: "/api/hooks".into(),
            callback_url: None,
            callback_key: None,
            callback_key_file: None,
            deadline: Duration::from_secs(20),
            concurrency: 256,
            unhandled: Unhandled::default(),
            record_bodies: false,
            redact: SECRET_MEMBERS.map(str::to_owned).to_vec(),
            pages: None,
        }
    }
}

impl HooksConfig {
    /// The vendor's key, from the settings or from its file.
    /// [`ConfigError`] if the file cannot be read, or the key is empty or cannot be sent.
    /// # Errors
    /// [`ConfigError`] if the file cannot be read, or the key is empty or no header can carry it.
    pub fn callback_key(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        if self.callback_key.is_some() && self.callback_key_file.is_some() {
            return refuse(format!(
                "[sources.{name}.hooks] has callback_key and callback_key_file; remove one of them"
            ));
        }
        let given: Vec<SecretString> = self.callback_key.iter().cloned().collect();
        let files: Vec<PathBuf> = self.callback_key_file.iter().cloned().collect();
        let section = format!("{name}.hooks");
        let keys = super::auth::keys(
            &section,
            &given,
            ("callback_key", "callback_key_file", &files),
            true,
        )?;
        Ok(keys.into_iter().next())
    }

    /// The URL of the vendor's system, if it is configured.
    ///
    /// # Errors
    /// [`ConfigError`] if it is not a URL, or would send the key unencrypted.
    pub fn callback_url(&self, name: &str) -> Result<Option<Url>, ConfigError> {
        let Some(text) = &self.callback_url else { return Ok(None) };
        let example = "write callback_url = \"https://….corpadmin.directscale.com\"";
        let Ok(url) = Url::parse(text) else {
            return refuse(format!("[sources.{name}.hooks] callback_url is not a URL; {example}"));
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return refuse(format!(
                "[sources.{name}.hooks] callback_url has a user, a password or a query in it; {example}"
            ));
        }
        match url.scheme() {
            "https" => Ok(Some(url)),
            "http" if is_local(&url) => Ok(Some(url)),
            _ => refuse(format!(
                "[sources.{name}.hooks] callback_url must be https: the key would be sent unencrypted; {example}"
            )),
        }
    }
}

impl Config {
    /// The client of the Extension API of a source's vendor, which has the callback API's address and its key.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no such source, or it lacks the address or the key.
    pub fn extension_client(&self, name: &str) -> Result<ExtensionClient, ConfigError> {
        const WRITE: &str = "the Extension API needs callback_url = \"https://….corpadmin.directscale.com\" and \
            callback_key_file = \"…\" with the DirectScale Secret from the vendor's Extension Settings";
        let Some(source) = self.sources.get(name) else {
            return refuse(format!(
                "the settings have no [sources.{name}] for the Extension API; add it, or name another source"
            ));
        };
        let Some(hooks) = &source.hooks else {
            return refuse(format!("[sources.{name}.hooks] is missing: {WRITE}"));
        };
        let (Some(url), Some(key)) = (hooks.callback_url(name)?, hooks.callback_key(name)?) else {
            let missing =
                if hooks.callback_url.is_none() { "callback_url" } else { "callback_key_file" };
            return refuse(format!("[sources.{name}.hooks] has no {missing}: {WRITE}"));
        };
        let client = CallbackApi::new(url, &key).and_then(ExtensionClient::new);
        client.or_else(|error| refuse(format!("[sources.{name}.hooks] {error:#}")))
    }

    /// The routes of hooks, with the sources that call them.
    ///
    /// # Errors
    /// [`ConfigError`] if a source's hooks conflict with other routes or lack authentication.
    pub fn hook_sites(&self, sources: &[Arc<Source>]) -> Result<Vec<Arc<HookRoute>>, ConfigError> {
        let with_hooks = sources.iter().filter_map(|source| {
            let settings = self.sources.get(&source.name)?;
            Some((source, settings, settings.hooks.as_ref()?))
        });
        let mut sites: Vec<Arc<HookRoute>> = Vec::new();
        for (source, settings, hooks) in with_hooks {
            let site = site(source, settings, hooks)?;
            check_apart(&site, sources, &sites)?;
            sites.push(Arc::new(site));
        }
        Ok(sites)
    }
}

fn site(
    source: &Arc<Source>,
    settings: &SourceConfig,
    hooks: &HooksConfig,
) -> Result<HookRoute, ConfigError> {
    let name = &source.name;
    if settings.dialect != Dialect::DirectScale {
        return refuse(format!(
            "[sources.{name}.hooks] only DirectScale calls hooks; remove the section, or write dialect = \"directscale\""
        ));
    }
    if source.auth.is_none() {
        return refuse(format!(
            "[sources.{name}.hooks] needs a key, because a hook's response is for the vendor only; write bearer_tokens = [\"…\"] and remove auth = \"none\""
        ));
    }
    if hooks.deadline < Duration::from_millis(1) {
        return refuse(format!(
            "[sources.{name}.hooks] deadline must be at least \"1ms\"; write deadline = \"20s\""
        ));
    }
    if !(1..=MAX_COUNT).contains(&hooks.concurrency) {
        return refuse(format!(
            "[sources.{name}.hooks] concurrency must be between 1 and {}",
            MAX_COUNT
        ));
    }
    Ok(HookRoute {
        source: Arc::clone(source),
        path: normal_path(&format!("{name}.hooks"), &hooks.path)?,
        deadline: hooks.deadline,
        concurrency: hooks.concurrency,
        unhandled: hooks.unhandled,
        recording: Recording {
            bodies: hooks.record_bodies,
            redact: hooks.redact.iter().map(|name| name.to_lowercase()).collect(),
        },
        pages: match &hooks.pages {
            Some(path) => Some(normal_path(&format!("{name}.hooks"), path)?),
            None => None,
        },
        api: api(name, hooks)?,
    })
}

/// Refuses a hook route whose paths a request could share with another route.
fn check_apart(
    site: &HookRoute,
    sources: &[Arc<Source>],
    others: &[Arc<HookRoute>],
) -> Result<(), ConfigError> {
    let name = &site.source.name;
    let own = [Some(&site.path), site.pages.as_ref()];
    let events = sources.iter().map(|source| (&source.path, format!("[sources.{}]", source.name)));
    let hooks = others.iter().flat_map(|other| {
        let section = format!("[sources.{}.hooks]", other.source.name);
        [Some(&other.path), other.pages.as_ref()]
            .into_iter()
            .flatten()
            .map(move |path| (path, section.clone()))
    });
    for (path, section) in events.chain(hooks) {
        if own.into_iter().flatten().any(|own| overlap(own, path)) {
            return refuse(format!(
                "[sources.{name}.hooks] and {section} have overlapping paths; give one of them another, e.g. path = \"/{}/api/hooks\"",
                site.source.environment
            ));
        }
    }
    if site.pages.as_ref().is_some_and(|pages| overlap(pages, &site.path)) {
        return refuse(format!(
            "[sources.{name}.hooks] path and pages overlap; write for example pages = \"/pages\""
        ));
    }
    Ok(())
}

fn api(name: &str, hooks: &HooksConfig) -> Result<Option<Arc<CallbackApi>>, ConfigError> {
    let (url, key) = (hooks.callback_url(name)?, hooks.callback_key(name)?);
    match (url, key) {
        (Some(url), Some(key)) => match CallbackApi::new(url, &key) {
            Ok(api) => Ok(Some(Arc::new(api))),
            Err(error) => refuse(format!("[sources.{name}.hooks] {error:#}")),
        },
        (Some(_), None) => refuse(format!(
            "[sources.{name}.hooks] has a callback_url but no key for it; write callback_key_file = \"…\" with the DirectScale Secret from the vendor's Extension Settings"
        )),
        (None, Some(_)) => refuse(format!(
            "[sources.{name}.hooks] has a callback_key but no callback_url; write callback_url = \"https://….corpadmin.directscale.com\""
        )),
        (None, None) if hooks.unhandled == Unhandled::PassThrough => refuse(format!(
            "[sources.{name}.hooks] has no callback_url, but hooks without a handler are passed through to it; write callback_url = \"https://….corpadmin.directscale.com\" and callback_key_file = \"…\", or unhandled = \"refuse\""
        )),
        (None, None) => Ok(None),
    }
}
