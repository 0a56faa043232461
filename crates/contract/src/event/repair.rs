//! Repairs of JSON that a strict model refuses, made on a copy, for decoding only.

use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};

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
