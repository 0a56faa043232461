//! JSON text, read without being decoded: values at pointers, digit for digit, and unambiguous repairs.
//!
//! Repairs are made on a copy: the received, verified and stored bytes stay as they are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One step down in a document.
#[derive(Debug, Clone, Copy)]
pub enum PathStep<'k> {
    /// The name of an object's member.
    Key(&'k str),
    /// The index of a list's element.
    Index(usize),
}

/// A JSON pointer (RFC 6901) to a value below the top of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    first: String,
    rest: Vec<String>,
    /// True if the case of the keys is ignored.
    any_case: bool,
}

/// A text is not a JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// The text does not begin with a slash.
    #[error("does not begin with /")]
    Form,
    /// A tilde is not followed by 0 or 1.
    #[error("is no JSON pointer: in a key ~ is written ~0 and / is written ~1")]
    Escape,
}

impl Pointer {
    /// Parses a pointer such as `/meta/id`.
    ///
    /// # Errors
    /// [`PointerError`] if the text is none, or points at the document itself.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let keys = text.strip_prefix('/').ok_or(PointerError::Form)?.split('/');
        let mut keys = keys.map(|key| unescaped(key).ok_or(PointerError::Escape));
        let first = keys.next().ok_or(PointerError::Form)??;
        Ok(Pointer { first, rest: keys.collect::<Result<_, _>>()?, any_case: false })
    }

    /// A pointer to a top-level member in any case.
    pub fn member(name: &str) -> Self {
        Pointer { first: name.to_owned(), rest: Vec::new(), any_case: true }
    }

    /// The keys from the top down.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.first).chain(&self.rest).map(String::as_str)
    }

    /// True if the step is the pointer's first.
    pub fn begins_with(&self, step: PathStep<'_>) -> bool {
        self.is(&self.first, step)
    }

    /// The value in a document.
    pub fn find<'j>(&self, json: &'j str) -> Option<&'j RawValue> {
        self.find_below(child(json, |step| self.begins_with(step))?)
    }

    /// The value below that of the first step.
    pub fn find_below<'j>(&self, value: &'j RawValue) -> Option<&'j RawValue> {
        let mut keys = self.rest.iter();
        keys.try_fold(value, |value, key| child(value.get(), |step| self.is(key, step)))
    }

    /// The text of the value in a document, if it is a string or a number.
    pub fn text(&self, json: &str) -> Option<String> {
        scalar(self.find(json)?)
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

impl fmt::Display for Pointer {
    /// A member in its vendor's spelling, or a JSON pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any_case {
            return f.write_str(&self.first);
        }
        let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
        self.keys().try_for_each(|key| write!(f, "/{}", escaped(key)))
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

/// A string's content or a number's digits; `None` for other values. An unpaired surrogate is replaced by its escape.
pub fn scalar(json: &RawValue) -> Option<String> {
    let json = json.get();
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(&escape_unpaired_surrogates(json)).ok(),
        b'-' | b'0'..=b'9' => Some(json.to_owned()),
        _ => None,
    }
}

/// A visitor of one level of a document.
pub trait LevelVisitor<'de> {
    /// True if the value after this step is needed.
    fn wants(&self, step: PathStep<'_>) -> bool;

    /// Takes a needed value; the last of several under one key counts.
    fn take(&mut self, step: PathStep<'_>, value: &'de RawValue);
}

/// The value one step down.
pub fn child(json: &str, is: impl Fn(PathStep<'_>) -> bool) -> Option<&RawValue> {
    let mut one = ChildFinder { is, found: None };
    scan(json, &mut one).ok()?;
    one.found
}

/// Finds one value.
struct ChildFinder<'de, F> {
    is: F,
    found: Option<&'de RawValue>,
}

impl<'de, F: Fn(PathStep<'_>) -> bool> LevelVisitor<'de> for ChildFinder<'de, F> {
    fn wants(&self, step: PathStep<'_>) -> bool {
        (self.is)(step)
    }

    fn take(&mut self, _: PathStep<'_>, value: &'de RawValue) {
        self.found = Some(value);
    }
}

/// Visits one level of a document. Returns true if the document is an object.
///
/// # Errors
/// If the text is not JSON, at any depth.
pub fn scan<'de>(
    text: &'de str,
    level: &mut impl LevelVisitor<'de>,
) -> Result<bool, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let is_object = json.deserialize_any(ScanVisitor(level))?;
    json.end()?;
    Ok(is_object)
}

struct ScanVisitor<'w, W>(&'w mut W);

impl<'de, W: LevelVisitor<'de>> Visitor<'de> for ScanVisitor<'_, W> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(KeyText(key)) = map.next_key()? {
            let step = PathStep::Key(&key);
            if self.0.wants(step) {
                self.0.take(step, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        for index in 0.. {
            let step = PathStep::Index(index);
            if self.0.wants(step) {
                let Some(value) = seq.next_element()? else { break };
                self.0.take(step, value);
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }
}

/// An object's key: borrowed, unless it has escapes.
struct KeyText<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for KeyText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = KeyText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<KeyText<'de>, E> {
                Ok(KeyText(name.into()))
            }

            fn visit_str<E>(self, name: &str) -> Result<KeyText<'de>, E> {
                Ok(KeyText(name.to_owned().into()))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The text without a leading byte order mark, which some senders write.
pub fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// JSON text in which each unpaired surrogate, which is no character, is replaced by the six characters of its escape:
/// `\ud800` becomes `\\ud800`. Nothing is lost, and no two texts become the same.
pub fn escape_unpaired_surrogates(json: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(escape) = memchr::memchr(b'\\', &json.as_bytes()[at..]).map(|next| at + next) {
        let (half, next) = (surrogate(json, escape), surrogate(json, escape + 6));
        at = match (half, next) {
            (Some(Half::High), Some(Half::Low)) => escape + 12,
            (Some(_), _) => {
                repaired.push_str(&json[copied..escape]);
                repaired.push('\\');
                copied = escape;
                escape + 6
            }
            // An escaped character has at least one byte; nothing follows the last byte.
            (None, _) => (escape + 2).min(json.len()),
        };
    }
    if copied == 0 && repaired.is_empty() {
        return json.into();
    }
    repaired.push_str(&json[copied..]);
    repaired.into()
}

enum Half {
    High,
    Low,
}

/// The surrogate escaped at this index.
fn surrogate(json: &str, at: usize) -> Option<Half> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..0xdc00 => Some(Half::High),
        0xdc00..0xe000 => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pointer_is_written_as_it_is_read() {
        for text in ["/meta/id", "/a~1b/~01/", "/", "/0/id"] {
            assert_eq!(Pointer::parse(text).unwrap().to_string(), text);
        }
        for (text, why) in [
            ("", PointerError::Form),
            ("meta/id", PointerError::Form),
            ("/a~2", PointerError::Escape),
            ("/a~", PointerError::Escape),
        ] {
            assert_eq!(Pointer::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_key_of_digits_is_an_index_too() {
        let pointer = Pointer::parse("/10").unwrap();
        assert!(pointer.begins_with(PathStep::Index(10)));
        assert!(pointer.begins_with(PathStep::Key("10")));
        assert!(!Pointer::parse("/010").unwrap().begins_with(PathStep::Index(10)));
    }

    #[test]
    fn the_text_at_a_pointer_is_a_strings_or_a_numbers() {
        let text = |pointer: &str, json: &str| Pointer::parse(pointer).unwrap().text(json);
        assert_eq!(text("/a/1/b", r#"{"a":[0,{"b":"x"}]}"#).as_deref(), Some("x"));
        assert_eq!(text("/0/n", r#"[{"n":1.50}]"#).as_deref(), Some("1.50"));
        for json in [r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"A":1}"#, "{", "7"] {
            assert_eq!(text("/a", json), None, "{json}");
        }
    }

    #[test]
    fn half_a_pair_is_written_out_and_a_whole_one_stays() {
        for (json, repaired) in [
            (r#""\ud800""#, r#""\\ud800""#),
            (r#""a\uDC00b""#, r#""a\\uDC00b""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\\ud83d\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\\ude00\\ud83d""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\\\ud800\u00e9""#, r#""\\\\ud800\u00e9""#),
            (r#"{"\ud800":"\ud800"}"#, r#"{"\\ud800":"\\ud800"}"#),
        ] {
            assert_eq!(escape_unpaired_surrogates(json), repaired, "{json}");
            serde_json::from_str::<serde_json::Value>(repaired).unwrap();
        }
    }

    proptest! {
        #[test]
        fn every_text_of_escapes_is_read_after_the_repair(
            units in prop::collection::vec(prop_oneof![any::<u16>(), 0xd7ff_u16..0xe001], 0..8),
            text in "[^\"\\\\\\x00-\\x1f]{0,4}",
        ) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}{text}")).collect();
            let json = format!("\"{escaped}\"");
            let strict = serde_json::from_str::<String>(&json);
            let repaired = serde_json::from_str::<String>(&escape_unpaired_surrogates(&json)).unwrap();
            if let Ok(strict) = strict {
                prop_assert_eq!(strict, repaired);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*", escapes in "(\\\\|u|d8|\u{e9}|\"){0,20}") {
            let _ = (escape_unpaired_surrogates(&text), escape_unpaired_surrogates(&escapes));
        }
    }
}
