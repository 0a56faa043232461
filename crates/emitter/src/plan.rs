//! The plan of a run, checked before anything is sent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chrono::SecondsFormat;
use contract::catalog::{EventRow, Table};
use contract::event::Dialect;
use http::HeaderValue;
use reqwest::Url;
use settings::Config;
use source::{Fact, FieldLocators, KeyPlace, Sender};

use super::message::{Message, fresh_id};
use super::proof::{NamedHeader, Proof, Tamper};
use super::schedule::Rate;
use super::send_as::{SendAs, SigningMethod};
use super::target::NamedSource;
use super::{EmitArgs, body, target};
use text::form;

/// The emitter's own name, for senders that document none.
const USER_AGENT: &str = concat!("webhook-receiver/", env!("CARGO_PKG_VERSION"));

/// The version of the models at a source's own path.
const VERSION: u16 = 1;

/// The messages to send, and their rate.
#[derive(Debug)]
pub struct Plan {
    /// One message of each event; the others are the same under fresh ids.
    pub(super) drafts: Vec<Message>,
    pub(super) count: u64,
    pub(super) duplicate: u64,
    pub(super) rate: Option<Rate>,
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
    /// The forgery of the messages, if any.
    pub(super) tamper: Option<Tamper>,
    warnings: Vec<String>,
}

impl Plan {
    /// The plan for these arguments.
    ///
    /// # Errors
    /// The first error: an unknown event, a body that does not fit its model, an unsafe target.
    pub fn new(args: &EmitArgs, catalog: &Table, config: &Config) -> anyhow::Result<Plan> {
        let source = target::source(args, config)?;
        let configured = source.map_or(Dialect::DirectScale, |(_, source)| source.dialect);
        let dialect = args.send_as.as_ref().and_then(SendAs::dialect).unwrap_or(configured);
        let events = events(args, catalog, dialect)?;
        let alone = events.len() == 1;
        ensure!(alone || args.data.is_none(), "--data is the body of one event, not of several");
        ensure!(
            args.message_id.is_none() || (alone && args.count == 1),
            "--message-id names one message; to send it again with the same id use --duplicate"
        );
        let mut warnings = Vec::new();
        let drafts = drafts(args, config, source, dialect, &events, &mut warnings)?;
        let default_concurrency = if alone && args.count == 1 { 1 } else { 16 };
        Ok(Plan {
            drafts,
            count: args.count,
            duplicate: args.duplicate,
            rate: args.rate,
            concurrency: args.concurrency.unwrap_or(default_concurrency) as usize,
            timeout: args.timeout,
            tamper: args.tamper,
            warnings,
        })
    }

    /// The total number of requests.
    pub fn total(&self) -> u64 {
        self.count
            .saturating_mul(self.drafts.len() as u64)
            .saturating_mul(self.duplicate.saturating_add(1))
    }

    /// Warnings about unusual, but allowed arguments.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The messages in the order of sending: every event in turn, each followed by its duplicates.
    pub(super) fn messages(&self) -> impl Iterator<Item = Message> + '_ {
        let repeats = self.duplicate.saturating_add(1);
        (0..self.count)
            .flat_map(|round| self.drafts.iter().map(move |draft| (round, draft)))
            .map(|(round, draft)| if round == 0 { draft.clone() } else { draft.with_fresh_id() })
            .flat_map(move |message| (0..repeats).map(move |_| message.clone()))
    }
}

/// An event's name and, unless it is sent raw, its row.
type ChosenEvent<'r> = (String, Option<&'r EventRow>);

fn events<'r>(
    args: &EmitArgs,
    catalog: &'r Table,
    dialect: Dialect,
) -> anyhow::Result<Vec<ChosenEvent<'r>>> {
    let known = || catalog.events().filter(|row| row.dialect == dialect && row.version == VERSION);
    if args.all {
        ensure!(known().next().is_some(), "the catalog has no {dialect} event");
        return Ok(known().map(|row| (row.name.to_owned(), Some(row))).collect());
    }
    let choose = |name: &String| match catalog.event(dialect, VERSION, name) {
        Some(row) => Ok((row.name.to_owned(), Some(row))),
        // A name that no path can carry is refused with the URL.
        None if args.raw || known().next().is_none() => Ok((name.clone(), None)),
        None => {
            let known: Vec<_> = known().map(|row| (row.name, row.aliases)).collect();
            bail!(
                "there is no {dialect} event `{name}`; {} --raw sends any name",
                hint(name, &known)
            )
        }
    };
    args.events.iter().map(choose).collect()
}

fn drafts(
    args: &EmitArgs,
    config: &Config,
    source: Option<NamedSource<'_>>,
    dialect: Dialect,
    events: &[ChosenEvent<'_>],
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<Message>> {
    let places = Arc::new(match source {
        Some((name, source)) if source.dialect == dialect => source.field_locators(name)?,
        _ => FieldLocators::of(dialect),
    });
    let sender = Sender::of(dialect);
    let sample = sample(&sender);
    let extra = extra(args, &sender)?;
    let path = source.map(|(_, source)| source.path.as_str());
    let urls = events
        .iter()
        .map(|(event, _)| target::url(args, config.listen, path, (event, names_event(&sender))))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let proof = Arc::new(proof(args, config, source, dialect, &urls)?);
    let is_form = places.content_type.starts_with(form::FORM);
    let data = body::data(args)?.map(|data| if is_form { as_object(data) } else { data });
    let mut drafts = Vec::new();
    for ((event, row), url) in events.iter().zip(urls) {
        let body = body::body(args, row.map_or(&*sample, |row| row.example), data.as_ref())?;
        if let (Some(row), false) = (row, args.raw) {
            warnings.extend(body::check(row, &body)?);
        }
        let mut draft = Message::new(event, url, Arc::clone(&places), Arc::clone(&proof), body)
            .with_headers(Arc::clone(&extra));
        let is_sample = row.is_none() && data.is_none();
        for (fact, text) in facts(args, source, (event, is_sample), &sender, &draft) {
            match draft.set_fact(fact, &text) {
                Err(error) if args.raw => warnings.push(format!("{error:#}")),
                result => result?,
            }
        }
        draft.signed().with_context(|| format!("{event} cannot be sent"))?;
        drafts.push(draft);
    }
    Ok(drafts)
}

/// True if the sender's URL ends with the event's name: it is entered so, or nothing else names the event.
fn names_event(sender: &Sender) -> bool {
    sender.url_per_event || sender.places.event_type.is_empty()
}

/// Form fields as the members of an object, which are changed and then sent as fields.
fn as_object(data: Bytes) -> Bytes {
    match data.trim_ascii_start().first() {
        Some(b'{') => data,
        _ => form::json(&data).map_or(data, Bytes::from),
    }
}

/// The body of the sender's sample event, as JSON.
fn sample(sender: &Sender) -> String {
    let body = &sender.sends.body;
    match sender.sends.content_type.starts_with(form::FORM) {
        true => form::json(body.as_bytes()).unwrap_or_default(),
        false => body.clone(),
    }
}

/// The headers that say nothing about the message: the given ones, and the sender's own.
fn extra(args: &EmitArgs, sender: &Sender) -> anyhow::Result<Arc<[NamedHeader]>> {
    let is_given = |name: &str| args.header.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let own = sender.sends.headers.iter().filter(|(name, _)| !is_given(name));
    let own = own.map(|(name, value)| Ok((name.clone().into(), HeaderValue::from_str(value)?)));
    let mut headers: Vec<NamedHeader> = own.collect::<anyhow::Result<_>>()?;
    let is_named = |headers: &[NamedHeader]| {
        headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent"))
            || is_given("user-agent")
    };
    if !is_named(&headers) {
        headers.push(("User-Agent".into(), HeaderValue::from_static(USER_AGENT)));
    }
    headers.extend(args.header.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    Ok(headers.into())
}

/// The facts of a message. A fact in the body keeps the body's own value, unless an argument sets it.
fn facts(
    args: &EmitArgs,
    source: Option<NamedSource<'_>>,
    (event, is_sample): (&str, bool),
    sender: &Sender,
    draft: &Message,
) -> Vec<(Fact, String)> {
    let configured = || source.and_then(|(_, source)| source.client_ids.first().cloned());
    let usual = |fact, text: &str| (!draft.has_in_body(fact)).then(|| text.to_owned());
    let now = contract::time::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let client_id = args.client_id.clone().or_else(configured);
    let usual_client = sender.sends.client_id.as_deref().unwrap_or("emitter");
    let own_type = (is_sample && event != sender.sends.event).then(|| event.to_owned());
    let facts = [
        (Fact::ClientId, client_id.or_else(|| usual(Fact::ClientId, usual_client))),
        (Fact::MessageId, Some(args.message_id.clone().unwrap_or_else(fresh_id))),
        (Fact::User, args.user.clone()),
        (Fact::EventType, own_type.or_else(|| usual(Fact::EventType, event))),
        (Fact::EventTime, usual(Fact::EventTime, &now)),
        (Fact::SpecVersion, usual(Fact::SpecVersion, "1.0")),
    ];
    facts.into_iter().filter_map(|(fact, text)| Some((fact, text?))).collect()
}

/// The proof of the messages: by the given keys, else as the source requires.
pub(super) fn proof(
    args: &EmitArgs,
    config: &Config,
    source: Option<NamedSource<'_>>,
    dialect: Dialect,
    urls: &[Url],
) -> anyhow::Result<Proof> {
    let style = match (&args.send_as, source) {
        (Some(send_as), _) => send_as.signing_method(),
        (None, Some((name, source))) => SigningMethod::of_source(name, source)?,
        (None, None) => SigningMethod::of(dialect),
    };
    let bearer = target::bearer_key(args, config.listen, source, style.is_some(), urls)?;
    let signing = match style {
        None => None,
        Some(style) => {
            let key = target::signing_key(args, config.listen, source, urls)?;
            key.map(|key| (style, key))
        }
    };
    let signing = signing.as_ref().map(|(style, key)| (style.clone(), std::slice::from_ref(key)));
    let proof = Proof::new(bearer.as_ref(), signing, args.tamper)?;
    let Some((name, source)) = source else { return Ok(proof) };
    let place = source.key_places(name)?.into_iter().next().unwrap_or(KeyPlace::Bearer);
    Ok(proof.with_key_at(place).with_public_url(source.public_url.clone()))
}

/// True if a name can be a path segment as it is.
pub(super) fn is_segment(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    !name.is_empty() && name.chars().all(plain) && !name.chars().all(|c| c == '.')
}

/// The nearest of the known names and their aliases, or all names.
pub(super) fn hint(name: &str, known: &[(&str, &[&str])]) -> String {
    let names = known.iter().flat_map(|(name, aliases)| std::iter::once(name).chain(*aliases));
    // All events are called so; it makes none of them alike.
    let stem = |name: &str| {
        let name = name.to_lowercase();
        name.strip_suffix("event").unwrap_or(&name).to_owned()
    };
    let stems: Vec<(String, &str)> = names.map(|name| (stem(name), *name)).collect();
    let nearest = text::nearest(&stem(name), stems.iter().map(|(stem, _)| &**stem), 0.8);
    let nearest = nearest.and_then(|nearest| stems.iter().find(|(stem, _)| stem == nearest));
    match nearest {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None => {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            format!("known are {}.", names.join(", "))
        }
    }
}
