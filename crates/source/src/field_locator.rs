//! Field locators: where each fact about a delivery is in a request. The receiver reads there, the emitter writes
//! there.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Index, IndexMut};

use contract::event::Dialect;
use http::HeaderName;

use super::is_secret_header;

/// A fact about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// The sender's id for the message, the same on every resend.
    MessageId,
    /// The account, shop or event source that the message is about.
    ClientId,
    /// The user who caused the event.
    User,
    /// The event's name.
    EventType,
    /// The time of the event.
    EventTime,
    /// The version of the format; only CloudEvents has one.
    SpecVersion,
}

impl Fact {
    /// Every fact, in the order of declaration.
    pub const ALL: [Fact; 6] = [
        Fact::MessageId,
        Fact::ClientId,
        Fact::User,
        Fact::EventType,
        Fact::EventTime,
        Fact::SpecVersion,
    ];
}

/// One value for each fact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PerFact<T>([T; Fact::ALL.len()]);

impl<T> Index<Fact> for PerFact<T> {
    type Output = T;

    fn index(&self, fact: Fact) -> &T {
        &self.0[fact as usize]
    }
}

impl<T> IndexMut<Fact> for PerFact<T> {
    fn index_mut(&mut self, fact: Fact) -> &mut T {
        &mut self.0[fact as usize]
    }
}

/// The locator of a fact in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldLocator {
    /// A header.
    Header(HeaderLocator),
    /// A value of the body.
    Body(BodyLocator),
}

/// A header, in its vendor's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderLocator {
    /// The lower-case name, for look-up.
    pub name: HeaderName,
    /// The vendor's spelling, for display.
    pub spelling: Cow<'static, str>,
    /// Another name of the same header. It may be present too, with the same value.
    pub(super) twin: Option<HeaderName>,
    /// True if the value is percent-encoded.
    pub encoded: bool,
}

/// A path into a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyLocator {
    first: String,
    rest: Vec<String>,
    /// True if the case of the keys is ignored.
    any_case: bool,
}

/// One step down in a document.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathStep<'k> {
    /// The name of an object's member.
    Key(&'k str),
    /// The index of a list's element.
    Index(usize),
}

/// A text is not a locator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// The text has neither of the two forms.
    #[error("is neither a header nor a JSON pointer")]
    Form,
    /// The header's name has invalid characters.
    #[error("names no header: a name is letters, digits and hyphens")]
    Name,
    /// The header's value must not be stored.
    #[error("names a header that holds a secret")]
    Secret,
    /// A tilde is not followed by 0 or 1.
    #[error("is no JSON pointer: in a key ~ is written ~0 and / is written ~1")]
    Escape,
}

impl FieldLocator {
    /// Parses a locator of the configuration: `header:X-Acme-Id` or `/meta/id`.
    pub fn parse(text: &str) -> Result<Self, LocatorError> {
        if let Some(name) = text.strip_prefix("header:") {
            let name = name.trim();
            let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| LocatorError::Name)?;
            if is_secret_header(&known) {
                return Err(LocatorError::Secret);
            }
            let spelling = name.to_owned().into();
            let header = HeaderLocator { name: known, spelling, twin: None, encoded: false };
            return Ok(FieldLocator::Header(header));
        }
        let keys = text.strip_prefix('/').ok_or(LocatorError::Form)?.split('/');
        let mut keys = keys.map(|key| unescaped(key).ok_or(LocatorError::Escape));
        let first = keys.next().ok_or(LocatorError::Form)??;
        Ok(FieldLocator::Body(BodyLocator {
            first,
            rest: keys.collect::<Result<_, _>>()?,
            any_case: false,
        }))
    }
}

/// A key of a JSON pointer without its escapes.
fn unescaped(key: &str) -> Option<String> {
    let escapes = key.split('~').skip(1);
    escapes
        .into_iter()
        .all(|rest| rest.starts_with(['0', '1']))
        .then(|| key.replace("~1", "/").replace("~0", "~"))
}

impl fmt::Display for FieldLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldLocator::Header(header) => f.write_str(&header.spelling),
            FieldLocator::Body(path) => write!(f, "{path} in the body"),
        }
    }
}

impl BodyLocator {
    /// The keys from the top down.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.rest).map(String::as_str)
    }

    /// True if the step is the path's first; the rest of the path continues from there.
    pub(super) fn begins_with(&self, step: PathStep<'_>) -> bool {
        self.is(&self.first, step)
    }

    /// The steps after the first.
    pub(super) fn rest(&self) -> impl Iterator<Item = impl Fn(PathStep<'_>) -> bool> {
        self.rest.iter().map(|key| |step: PathStep<'_>| self.is(key, step))
    }

    fn is(&self, key: &str, step: PathStep<'_>) -> bool {
        match step {
            PathStep::Key(name) if self.any_case => key.eq_ignore_ascii_case(name),
            PathStep::Key(name) => key == name,
            PathStep::Index(index) => {
                key.parse() == Ok(index) && (key == "0" || !key.starts_with(['0', '+']))
            }
        }
    }
}

impl fmt::Display for BodyLocator {
    /// A field in its vendor's spelling, a longer path as a JSON pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any_case {
            return f.write_str(&self.first);
        }
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        self.keys().try_for_each(|key| write!(f, "/{}", escaped(key)))
    }
}

/// A locator in the body and its fact.
#[derive(Debug, Clone)]
pub(super) struct BodyField {
    pub(super) fact: Fact,
    /// The index among the fact's locators.
    pub(super) rank: usize,
    pub(super) path: BodyLocator,
}

fn body_fields(fact: Fact, locators: &[FieldLocator]) -> impl Iterator<Item = BodyField> {
    locators.iter().enumerate().filter_map(move |(rank, locator)| match locator {
        FieldLocator::Body(path) => Some(BodyField { fact, rank, path: path.clone() }),
        FieldLocator::Header(_) => None,
    })
}

/// The locators of one dialect or source: for each fact a list, tried in order.
#[derive(Debug, Clone)]
pub struct FieldLocators {
    /// The content type of the sender's requests.
    pub content_type: &'static str,
    locators: PerFact<Vec<FieldLocator>>,
    body_fields: Vec<BodyField>,
    /// The facts that every delivery has.
    pub required: &'static [Fact],
}

impl FieldLocators {
    /// The locators of a dialect; the generic one has none.
    pub fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::DirectScale => FieldLocators::new("application/json; charset=UTF-8")
                .with(Fact::MessageId, [header("X-Directscale-Message-Id")])
                .with(Fact::ClientId, [header("X-Directscale-Client-Id")])
                .with(Fact::User, [header("X-Directscale-User")])
                .with(Fact::EventType, [field("EventType")])
                .with(Fact::EventTime, [field("EventDateUtc")]),
            Dialect::EvolutionX => FieldLocators::new(JSON)
                .with(Fact::MessageId, [field("event_id")])
                .with(Fact::User, [field("source_user_type")])
                .with(Fact::EventType, [field("event_type")]),
            Dialect::StandardWebhooks => FieldLocators::new(JSON)
                .with(Fact::MessageId, [twins("webhook-id", "svix-id")])
                .with(Fact::EventType, [path("type", &[])])
                .with(Fact::EventTime, [path("timestamp", &[])]),
            Dialect::GitHub => FieldLocators::new(JSON)
                .with(Fact::MessageId, [header("X-GitHub-Delivery")])
                .with(Fact::User, [path("sender", &["login"])])
                .with(Fact::EventType, [header("X-GitHub-Event")]),
            Dialect::Stripe => FieldLocators::new("application/json; charset=utf-8")
                .with(Fact::MessageId, [path("id", &[])])
                .with(Fact::ClientId, [path("account", &[])])
                .with(Fact::EventType, [path("type", &[])])
                .with(Fact::EventTime, [path("created", &[])]),
            Dialect::Shopify => FieldLocators::new(JSON)
                .with(Fact::MessageId, [header("X-Shopify-Event-Id")])
                .with(Fact::ClientId, [header("X-Shopify-Shop-Domain")])
                .with(Fact::EventType, [header("X-Shopify-Topic")])
                .with(Fact::EventTime, [header("X-Shopify-Triggered-At")]),
            Dialect::Slack => FieldLocators::new(JSON)
                .with(Fact::MessageId, [path("event_id", &[])])
                .with(Fact::ClientId, [path("team_id", &[])])
                .with(Fact::User, [path("event", &["user"])])
                .with(Fact::EventType, [path("event", &["type"]), path("type", &[])])
                .with(Fact::EventTime, [path("event_time", &[])]),
            Dialect::CloudEvents => FieldLocators::new(JSON)
                .requiring(&[Fact::MessageId, Fact::ClientId, Fact::EventType, Fact::SpecVersion])
                .with(Fact::MessageId, [encoded("ce-id"), path("id", &[])])
                .with(Fact::ClientId, [encoded("ce-source"), path("source", &[])])
                .with(Fact::EventType, [encoded("ce-type"), path("type", &[])])
                .with(Fact::EventTime, [encoded("ce-time"), path("time", &[])])
                .with(Fact::SpecVersion, [encoded("ce-specversion"), path("specversion", &[])]),
            Dialect::Generic => FieldLocators::new(JSON),
        }
    }

    fn new(content_type: &'static str) -> Self {
        FieldLocators {
            content_type,
            locators: PerFact::default(),
            body_fields: Vec::new(),
            required: &[],
        }
    }

    /// Replaces the locators of a fact.
    #[must_use]
    pub fn with(mut self, fact: Fact, locators: impl Into<Vec<FieldLocator>>) -> Self {
        self.locators[fact] = locators.into();
        self.body_fields = Fact::ALL
            .into_iter()
            .flat_map(|fact| body_fields(fact, &self.locators[fact]))
            .collect();
        self
    }

    /// All locators in the body.
    pub(super) fn body_fields(&self) -> &[BodyField] {
        &self.body_fields
    }

    fn requiring(self, required: &'static [Fact]) -> Self {
        FieldLocators { required, ..self }
    }

    /// The fact's header, if one of its locators is a header.
    pub fn header(&self, fact: Fact) -> Option<&HeaderLocator> {
        self.at(fact).iter().find_map(|locator| match locator {
            FieldLocator::Header(header) => Some(header),
            FieldLocator::Body(_) => None,
        })
    }

    /// Every header that may hold a fact.
    pub fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let headers = self.locators.0.iter().flatten().filter_map(|locator| match locator {
            FieldLocator::Header(header) => Some(header),
            FieldLocator::Body(_) => None,
        });
        headers.flat_map(|header| [&header.name].into_iter().chain(&header.twin))
    }

    /// The fact's locators, tried in order.
    pub fn at(&self, fact: Fact) -> &[FieldLocator] {
        &self.locators[fact]
    }
}

const JSON: &str = "application/json";

fn header(spelling: &'static str) -> FieldLocator {
    FieldLocator::Header(named(spelling))
}

fn twins(spelling: &'static str, twin: &'static str) -> FieldLocator {
    FieldLocator::Header(HeaderLocator { twin: Some(named(twin).name), ..named(spelling) })
}

fn encoded(spelling: &'static str) -> FieldLocator {
    FieldLocator::Header(HeaderLocator { encoded: true, ..named(spelling) })
}

fn named(spelling: &'static str) -> HeaderLocator {
    let name = HeaderName::from_bytes(spelling.as_bytes()).expect("the table names headers");
    HeaderLocator { name, spelling: spelling.into(), twin: None, encoded: false }
}

/// A top-level field in any case.
fn field(name: &str) -> FieldLocator {
    FieldLocator::Body(BodyLocator { first: name.to_owned(), rest: Vec::new(), any_case: true })
}

fn path(first: &str, rest: &[&str]) -> FieldLocator {
    let rest = rest.iter().map(|&key| key.to_owned()).collect();
    FieldLocator::Body(BodyLocator { first: first.to_owned(), rest, any_case: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_numbered_as_they_are_listed() {
        for (locator, fact) in Fact::ALL.into_iter().enumerate() {
            assert_eq!(fact as usize, locator);
        }
    }

    #[test]
    fn every_dialect_but_the_generic_one_says_id_and_type() {
        for dialect in Dialect::ALL {
            let locators = FieldLocators::of(dialect);
            let located =
                [Fact::MessageId, Fact::EventType].map(|fact| !locators.at(fact).is_empty());
            assert_eq!(located, [dialect != Dialect::Generic; 2], "{dialect}");
        }
    }

    #[test]
    fn a_place_is_written_as_it_is_read() {
        for text in ["/meta/id", "/a~1b/~01/", "/", "/0/id"] {
            let locator = FieldLocator::parse(text).unwrap();
            assert_eq!(locator.to_string(), format!("{text} in the body"));
        }
        assert_eq!(FieldLocator::parse("header:X-Acme-Id").unwrap().to_string(), "X-Acme-Id");
    }

    #[test]
    fn what_names_no_place_says_why() {
        for (text, why) in [
            ("", LocatorError::Form),
            ("meta/id", LocatorError::Form),
            ("query:id", LocatorError::Form),
            ("header:", LocatorError::Name),
            ("header:X Acme", LocatorError::Name),
            ("header:Authorization", LocatorError::Secret),
            ("/a~2", LocatorError::Escape),
            ("/a~", LocatorError::Escape),
        ] {
            assert_eq!(FieldLocator::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_key_of_digits_is_an_index_too() {
        let Ok(FieldLocator::Body(path)) = FieldLocator::parse("/10") else { panic!("a pointer") };
        assert!(path.begins_with(PathStep::Index(10)) && path.begins_with(PathStep::Key("10")));
        let Ok(FieldLocator::Body(path)) = FieldLocator::parse("/010") else { panic!("a pointer") };
        assert!(!path.begins_with(PathStep::Index(10)));
    }
}
