//! Facts in a body, read at the edge: its validity as JSON, and the values at the field locators.

use std::borrow::Cow;

use serde_json::value::RawValue;
use text::json::{LevelVisitor, PathStep, Pointer, escape_unpaired_surrogates, scan, without_bom};

use super::Refusal;
use super::field_locator::{BodyField, PerFact};

/// The facts found in a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BodyFacts {
    /// For each fact the index of its locator, and the value.
    pub(super) found: PerFact<Option<(usize, String)>>,
    pub(super) is_object: bool,
}

/// Checks that `body` is JSON text and looks for facts in it, in one pass: for each fact at its first locators, up to
/// the limit in `ranks`.
///
/// A locator below the top level costs another pass over the value that it leads into, and over nothing else.
pub(super) fn read(
    body: &[u8],
    fields: &[BodyField],
    ranks: &PerFact<usize>,
) -> Result<BodyFacts, Refusal> {
    let text = match std::str::from_utf8(without_bom(body)) {
        Ok("") => return Err(Refusal::NotJson("it is empty".into())),
        Ok(text) => text,
        Err(_) if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") => {
            return Err(Refusal::NotUtf8("it begins with the byte order mark of UTF-16".into()));
        }
        Err(error) => return Err(Refusal::NotUtf8(error.to_string())),
    };
    let facts = |text: &str| {
        let mut facts = FactCollector { fields, ranks, found: PerFact::default() };
        let is_object = scan(text, &mut facts)?;
        Ok(BodyFacts { found: facts.found, is_object })
    };
    facts(text)
        .or_else(|error| match escape_unpaired_surrogates(text) {
            Cow::Borrowed(_) => Err(error),
            Cow::Owned(text) => facts(&text),
        })
        .map_err(|error: serde_json::Error| Refusal::NotJson(error.to_string()))
}

/// The value of a top-level field as text, if `body` is an object and the value a string or a number.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(without_bom(body)).ok()?;
    scalar(Pointer::member(name).find(&escape_unpaired_surrogates(text))?)
}

/// A string's content or a number's digits; none for blank text and other values.
fn scalar(value: &RawValue) -> Option<String> {
    text::json::scalar(value).filter(|text| !text.trim().is_empty())
}

/// Collects all facts at once.
struct FactCollector<'a> {
    fields: &'a [BodyField],
    ranks: &'a PerFact<usize>,
    found: PerFact<Option<(usize, String)>>,
}

impl<'de> LevelVisitor<'de> for FactCollector<'_> {
    fn wants(&self, step: PathStep<'_>) -> bool {
        self.fields.iter().any(|one| one.path.begins_with(step))
    }

    fn take(&mut self, step: PathStep<'_>, value: &'de RawValue) {
        for BodyField { fact, rank, path } in self.fields {
            if !path.begins_with(step) {
                continue;
            }
            let nearest =
                self.found[*fact].as_ref().map_or(self.ranks[*fact], |(known, _)| known + 1);
            if *rank >= nearest {
                continue;
            }
            if let Some(text) = path.find_below(value).and_then(scalar) {
                self.found[*fact] = Some((*rank, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::event::Dialect;
    use proptest::prelude::*;

    use super::super::field_locator::{Fact, FieldLocator, FieldLocators};
    use super::*;

    fn envelope_in(dialect: Dialect, body: &[u8]) -> Result<BodyFacts, Refusal> {
        let locators = FieldLocators::of(dialect);
        read_all(&locators, body)
    }

    fn read_all(locators: &FieldLocators, body: &[u8]) -> Result<BodyFacts, Refusal> {
        let mut all = PerFact::default();
        Fact::ALL.into_iter().for_each(|fact| all[fact] = locators.at(fact).len());
        read(body, locators.body_fields(), &all)
    }

    fn fact_in(dialect: Dialect, fact: Fact, body: &str) -> Option<String> {
        let mut envelope = envelope_in(dialect, body.as_bytes()).unwrap();
        envelope.found[fact].take().map(|(_, text)| text)
    }

    fn event_type(body: &str) -> Option<String> {
        fact_in(Dialect::DirectScale, Fact::EventType, body)
    }

    #[test]
    fn fields_are_found_without_regard_to_case_and_only_at_the_top() {
        let body = r#"{"A":[{"EventType":"no"}],"eventtype":"OrderEvent","EventDateUtc":"2021"}"#;
        assert_eq!(event_type(body).as_deref(), Some("OrderEvent"));
        let time = fact_in(Dialect::DirectScale, Fact::EventTime, body);
        assert_eq!(time.as_deref(), Some("2021"));
    }

    #[test]
    fn a_numeric_type_is_a_name_too_and_a_blank_one_is_none() {
        assert_eq!(event_type(r#"{"EventType":3}"#).as_deref(), Some("3"));
        assert_eq!(event_type(r#"{"EventType":" "}"#), None);
        assert_eq!(event_type(r#"{"EventType":null}"#), None);
    }

    #[test]
    fn a_path_leads_into_objects_and_lists_and_minds_the_case() {
        let user = |body| fact_in(Dialect::GitHub, Fact::User, body);
        assert_eq!(user(r#"{"sender":{"id":1,"login":"jo"}}"#).as_deref(), Some("jo"));
        for body in [r#"{"Sender":{"login":"jo"}}"#, r#"{"sender":["login"]}"#, r#"{"sender":1}"#] {
            assert_eq!(user(body), None, "{body}");
        }
        let locators = |text: &str| {
            FieldLocators::of(Dialect::Generic)
                .with(Fact::User, [FieldLocator::parse(text).unwrap()])
        };
        for (text, body) in [
            ("/0/id", r#"[{"id":"x"},{"id":"y"}]"#),
            ("/a/1/b", r#"{"a":[0,{"b":"x"}]}"#),
            ("/a~1b", r#"{"a/b":"x"}"#),
            ("/\u{e9}", r#"{"\u00e9":"x"}"#),
        ] {
            let mut found = read_all(&locators(text), body.as_bytes()).unwrap().found;
            assert_eq!(found[Fact::User].take(), Some((0, "x".to_owned())), "{text} {body}");
        }
    }

    #[test]
    fn places_are_tried_in_their_order_whatever_the_bodys() {
        let kind = |body: &str| fact_in(Dialect::Slack, Fact::EventType, body);
        let (inner, outer) = (r#""event":{"type":"inner"}"#, r#""type":"outer""#);
        assert_eq!(kind(&format!("{{{inner},{outer}}}")).as_deref(), Some("inner"));
        assert_eq!(kind(&format!("{{{outer},{inner}}}")).as_deref(), Some("inner"));
        assert_eq!(kind(&format!("{{{outer},\"event\":{{}}}}")).as_deref(), Some("outer"));
    }

    #[test]
    fn any_json_value_is_an_envelope() {
        for body in ["1", "-1.5e3", "true", "null", "\"x\"", "[1,{}]"] {
            let envelope = envelope_in(Dialect::DirectScale, body.as_bytes());
            assert_eq!(envelope, Ok(BodyFacts::default()), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_text_is_refused() {
        let refused = |body: &[u8]| envelope_in(Dialect::DirectScale, body).unwrap_err();
        for body in ["", "{", "{\"a\":1,}", "{} {}", "{\"a\":01}"] {
            assert!(matches!(refused(body.as_bytes()), Refusal::NotJson(_)), "{body}");
        }
        assert!(matches!(refused(b"{\"a\":\"\xff\"}"), Refusal::NotUtf8(_)));
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(r#"{{"event":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(fact_in(Dialect::Slack, Fact::EventType, &deep), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            text in r#"[\[\]{}:,"\\ 0-9a-zu-]{0,60}"#,
            value in "\\PC{0,20}",
        ) {
            let nested = format!(r#"{{"event":{{"type":"{value}"}},"id":{value},"sender":{text}}}"#);
            for body in [&bytes[..], text.as_bytes(), nested.as_bytes()] {
                for &dialect in Dialect::ALL {
                    let _ = envelope_in(dialect, body);
                }
                let _ = field(body, "id");
            }
        }
    }
}
