//! Field locators: where each fact about a delivery is in a request. The receiver reads there, the emitter writes
//! there.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Index, IndexMut};

use contract::event::Dialect;
use http::HeaderName;
use signature::{Place, PlaceError, Template, TemplateError};
use text::json::Pointer;

use super::is_secret_header;
use super::wire::{PlacesConfig, Sender};

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

impl Fact {
    /// The name of the setting.
    pub const fn setting(self) -> &'static str {
        match self {
            Fact::MessageId => "message_id",
            Fact::ClientId => "client_id",
            Fact::User => "user",
            Fact::EventType => "event_type",
            Fact::EventTime => "event_time",
            Fact::SpecVersion => "spec_version",
        }
    }
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
    Body(Pointer),
    /// A parameter of the query.
    Query(String),
    /// Several parts of the request together.
    Template(Template),
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

/// A text is not a locator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// The text names no place.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The header's value must not be stored.
    #[error("names a header that holds a secret")]
    Secret,
    /// The template is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The template names a value that no request has.
    #[error("has a value or a filter in it that is for signatures")]
    Unfit,
}

impl FieldLocator {
    /// Parses a locator of the configuration: `header:X-Acme-Id`, `query:id`, `/meta/id`, or a template with such places
    /// in braces.
    ///
    /// In the table of senders a header may have a twin, as in `header:webhook-id, svix-id`, or be percent-encoded, as in
    /// `encoded:ce-id`, and `member:EventType` is a top-level member in any case.
    ///
    /// # Errors
    /// [`LocatorError`] with the reason.
    pub fn parse(text: &str) -> Result<Self, LocatorError> {
        if text.contains('{') {
            let template = Template::parse(text)?;
            let has_secret = template.places().any(
                |place| matches!(place, Place::Header(name) if named(name).is_ok_and(|name| is_secret_header(&name))),
            );
            return match has_secret
                || template.has_hmac()
                || template.value_names().next().is_some()
            {
                true if has_secret => Err(LocatorError::Secret),
                true => Err(LocatorError::Unfit),
                false => Ok(FieldLocator::Template(template)),
            };
        }
        if let Some(name) = text.strip_prefix("member:") {
            return Ok(FieldLocator::Body(Pointer::member(name)));
        }
        if let Some(name) = text.strip_prefix("encoded:") {
            return header(name, None, true);
        }
        if let Some((name, twin)) =
            text.strip_prefix("header:").and_then(|names| names.split_once(','))
        {
            return header(name, Some(twin), false);
        }
        match Place::parse(text)? {
            Place::Header(name) => header(&name, None, false),
            Place::Query(name) => Ok(FieldLocator::Query(name)),
            Place::Body(pointer) => Ok(FieldLocator::Body(pointer)),
        }
    }
}

fn header(name: &str, twin: Option<&str>, encoded: bool) -> Result<FieldLocator, LocatorError> {
    let spelling = name.trim().to_owned().into();
    let twin = twin.map(named).transpose()?;
    let name = named(name)?;
    match is_secret_header(&name) {
        true => Err(LocatorError::Secret),
        false => Ok(FieldLocator::Header(HeaderLocator { name, spelling, twin, encoded })),
    }
}

fn named(name: &str) -> Result<HeaderName, LocatorError> {
    Ok(HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| PlaceError::Name)?)
}

impl fmt::Display for FieldLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldLocator::Header(header) => f.write_str(&header.spelling),
            FieldLocator::Body(pointer) => write!(f, "{pointer} in the body"),
            FieldLocator::Query(name) => write!(f, "{name} in the query"),
            FieldLocator::Template(template) => template.fmt(f),
        }
    }
}

/// A locator in the body and its fact.
#[derive(Debug, Clone)]
pub(super) struct BodyField {
    pub(super) fact: Fact,
    /// The index among the fact's locators.
    pub(super) rank: usize,
    pub(super) path: Pointer,
}

fn body_fields(fact: Fact, locators: &[FieldLocator]) -> impl Iterator<Item = BodyField> {
    locators.iter().enumerate().filter_map(move |(rank, locator)| match locator {
        FieldLocator::Body(path) => Some(BodyField { fact, rank, path: path.clone() }),
        _ => None,
    })
}

/// The identity of deliveries that have no message id at any of its locators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unidentified {
    /// They are recognised by a digest of everything that names the event.
    #[default]
    Digest,
    /// None is ever taken for a duplicate.
    Distinct,
}

/// The locators of one dialect or source: for each fact a list, tried in order.
#[derive(Debug, Clone)]
pub struct FieldLocators {
    /// The content type of the sender's requests.
    pub content_type: String,
    /// The identity of deliveries without a message id.
    pub unidentified: Unidentified,
    locators: PerFact<Vec<FieldLocator>>,
    body_fields: Vec<BodyField>,
    /// The facts that every delivery has.
    pub required: Vec<Fact>,
}

impl FieldLocators {
    /// The locators of a dialect; the generic one has none.
    pub fn of(dialect: Dialect) -> Self {
        FieldLocators::of_sender(&Sender::of(dialect), None)
            .expect("a test reads the locators of every row")
    }

    /// The locators of a sender, replaced by those in the settings, fact by fact.
    ///
    /// # Errors
    /// [`LocatorError`] with the setting and the invalid locator.
    pub fn of_sender(
        sender: &Sender,
        own: Option<&PlacesConfig>,
    ) -> Result<Self, (&'static str, String, LocatorError)> {
        let mut locators = FieldLocators {
            content_type: sender.sends.content_type.clone(),
            unidentified: Unidentified::default(),
            locators: PerFact::default(),
            body_fields: Vec::new(),
            required: Fact::ALL
                .into_iter()
                .filter(|fact| sender.required.iter().any(|name| name == fact.setting()))
                .collect(),
        };
        for fact in Fact::ALL {
            let own = own.map(|own| own.of(fact)).filter(|own| !own.is_empty());
            let mut texts = own.unwrap_or(sender.places.of(fact)).to_vec();
            if fact == Fact::MessageId {
                locators.unidentified = match texts.last().map(String::as_str) {
                    Some("none") => Unidentified::Distinct,
                    _ => Unidentified::Digest,
                };
                let is_last = |text: &String| text == "none" || text == "digest";
                texts.pop_if(|text| is_last(text));
            }
            let parse = |text: &String| {
                FieldLocator::parse(text).map_err(|error| (fact.setting(), text.clone(), error))
            };
            let parsed = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
            locators = locators.with(fact, parsed);
        }
        Ok(locators)
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

    /// The fact's header, if one of its locators is a header.
    pub fn header(&self, fact: Fact) -> Option<&HeaderLocator> {
        self.at(fact).iter().find_map(|locator| match locator {
            FieldLocator::Header(header) => Some(header),
            _ => None,
        })
    }

    /// Every header that may hold a fact, or a part of one.
    pub fn headers(&self) -> impl Iterator<Item = HeaderName> {
        self.locators.0.iter().flatten().flat_map(|locator| match locator {
            FieldLocator::Header(header) => {
                [&header.name].into_iter().chain(&header.twin).cloned().collect()
            }
            FieldLocator::Template(template) => {
                let headers = template.places().filter_map(|place| match place {
                    Place::Header(name) => named(name).ok(),
                    _ => None,
                });
                headers.collect::<Vec<_>>()
            }
            FieldLocator::Body(_) | FieldLocator::Query(_) => Vec::new(),
        })
    }

    /// Every query parameter that may hold a fact, or a part of one.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.locators.0.iter().flatten().flat_map(|locator| match locator {
            FieldLocator::Query(name) => vec![name.as_str()],
            FieldLocator::Template(template) => template
                .places()
                .filter_map(|place| match place {
                    Place::Query(name) => Some(name.as_str()),
                    _ => None,
                })
                .collect(),
            FieldLocator::Header(_) | FieldLocator::Body(_) => Vec::new(),
        })
    }

    /// True if a fact is composed of members of the body.
    pub(crate) fn has_body_templates(&self) -> bool {
        self.locators.0.iter().flatten().any(|locator| match locator {
            FieldLocator::Template(template) => template.places().any(Place::is_in_body),
            _ => false,
        })
    }

    /// True if a locator is a template.
    pub(crate) fn has_templates(&self) -> bool {
        self.locators.0.iter().flatten().any(|locator| matches!(locator, FieldLocator::Template(_)))
    }

    /// The fact's locators, tried in order.
    pub fn at(&self, fact: Fact) -> &[FieldLocator] {
        &self.locators[fact]
    }
}

impl PlacesConfig {
    fn of(&self, fact: Fact) -> &[String] {
        match fact {
            Fact::MessageId => &self.message_id,
            Fact::ClientId => &self.client_id,
            Fact::User => &self.user,
            Fact::EventType => &self.event_type,
            Fact::EventTime => &self.event_time,
            Fact::SpecVersion => &self.spec_version,
        }
    }
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
    fn the_locators_of_every_row_can_be_read() {
        for &dialect in Dialect::ALL {
            let locators = FieldLocators::of(dialect);
            let has_type = !locators.at(Fact::EventType).is_empty();
            assert!(
                has_type || matches!(dialect, Dialect::Generic | Dialect::Dropbox),
                "{dialect}"
            );
            let required = Sender::of(dialect).required.len();
            assert_eq!(locators.required.len(), required, "{dialect}");
        }
    }

    #[test]
    fn a_place_is_shown_as_it_is_meant() {
        for text in ["/meta/id", "/a~1b/~01/", "/", "/0/id"] {
            let locator = FieldLocator::parse(text).unwrap();
            assert_eq!(locator.to_string(), format!("{text} in the body"));
        }
        let shown = |text| FieldLocator::parse(text).unwrap().to_string();
        assert_eq!(shown("header:X-Acme-Id"), "X-Acme-Id");
        assert_eq!(shown("query:id"), "id in the query");
        assert_eq!(shown("{/a} {header:B}"), "{/a} {header:B}");
    }

    #[test]
    fn what_names_no_place_says_why() {
        let place = |error| LocatorError::Place(error);
        for (text, why) in [
            ("", place(PlaceError::Form)),
            ("meta/id", place(PlaceError::Form)),
            ("query:", place(PlaceError::Form)),
            ("header:", place(PlaceError::Name)),
            ("header:X Acme", place(PlaceError::Name)),
            ("header:Authorization", LocatorError::Secret),
            ("{/a} {header:Authorization}", LocatorError::Secret),
            ("{/a} {=name}", LocatorError::Unfit),
            ("{/a|hmac-sha256}", LocatorError::Unfit),
        ] {
            assert_eq!(FieldLocator::parse(text), Err(why), "{text}");
        }
        for text in ["/a~2", "/a~", "{/a~}", "{a", "{b}"] {
            assert!(FieldLocator::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_replace_the_locators_of_a_fact_and_no_other() {
        let own = PlacesConfig { message_id: vec!["none".into()], ..PlacesConfig::default() };
        let shopify = Sender::of(Dialect::Shopify);
        let locators = FieldLocators::of_sender(&shopify, Some(&own)).unwrap();
        assert_eq!(locators.unidentified, Unidentified::Distinct);
        assert!(locators.at(Fact::MessageId).is_empty());
        assert_eq!(locators.at(Fact::EventType).len(), 1);
        let own = PlacesConfig { message_id: vec!["/a".into(), "digest".into()], ..own };
        let locators = FieldLocators::of_sender(&shopify, Some(&own)).unwrap();
        assert_eq!(locators.unidentified, Unidentified::Digest);
        assert_eq!(locators.at(Fact::MessageId).len(), 1);
    }
}
