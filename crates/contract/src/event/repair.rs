//! Repairs of unambiguous JSON that a strict reader or a strict model refuses.
//!
//! Repairs are made on a copy, for decoding only: the received, verified and stored bytes stay as they are.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

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

/// The text with `null` for every blank string at the path, in all elements of lists on the way; `None` if there is no
/// blank string. The document itself is never blank.
pub(super) fn without_blanks(json: &str, path: &Path) -> Option<String> {
    let steps: Vec<&Segment> = path.iter().collect();
    let mut blanks = Vec::new();
    collect(serde_json::from_str(json).ok()?, &steps, &mut blanks);
    let (mut text, mut copied) = (String::with_capacity(json.len()), 0);
    for blank in &blanks {
        // The blanks are slices of `json`, in its order.
        let begin = blank.as_ptr().addr() - json.as_ptr().addr();
        text += &json[copied..begin];
        text += "null";
        copied = begin + blank.len();
    }
    text += &json[copied..];
    (!blanks.is_empty() && !steps.is_empty()).then_some(text)
}

fn collect<'j>(value: &'j RawValue, path: &[&Segment], blanks: &mut Vec<&'j str>) {
    let json = value.get();
    match path.split_first() {
        None => {
            let content = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            blanks.extend(content.filter(|text| text.trim().is_empty()).map(|_| json));
        }
        Some((Segment::Seq { .. }, rest)) => {
            let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            elements.into_iter().for_each(|element| collect(element, rest, blanks));
        }
        Some((Segment::Map { key }, rest)) => {
            let members: HashMap<String, &RawValue> =
                serde_json::from_str(json).unwrap_or_default();
            members.get(key).into_iter().for_each(|member| collect(member, rest, blanks));
        }
        Some((Segment::Enum { .. } | Segment::Unknown, _)) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
