//! Differences between two JSON documents, value by value; numbers are compared as they are written.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

/// One difference: a value that was added, removed, or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The path, e.g. `LineItems[0].ItemId`; `.` is the document itself.
    pub(super) path: String,
    /// The old value, as compact JSON text.
    pub(super) was: Option<Text>,
    /// The new value.
    pub(super) is: Option<Text>,
}

/// A JSON text.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Text(Box<RawValue>);

impl Text {
    /// The text without whitespace between its parts, if it is JSON.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        let compact = compact(serde_json::from_str::<&RawValue>(text).ok()?.get());
        RawValue::from_string(compact).ok().map(Text)
    }

    pub(super) fn get(&self) -> &str {
        self.0.get()
    }

    pub(super) fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    fn of_part(part: &RawValue) -> Option<Self> {
        Text::of(part.get().as_bytes())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Text {}

/// The differences in the order of their paths. The order of an object's members is ignored.
pub(super) fn diff(was: &Text, is: &Text) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", &was.0, &is.0, &mut changes);
    changes
}

fn compare(path: &str, was: &RawValue, is: &RawValue, changes: &mut Vec<Change>) {
    match (Shape::of(was), Shape::of(is)) {
        (Shape::Object(was), Shape::Object(is)) => compare_members(path, &was, &is, changes),
        (Shape::List(was), Shape::List(is)) => compare_elements(path, &was, &is, changes),
        (Shape::String(was), Shape::String(is)) if was == is => {}
        (Shape::Other(was), Shape::Other(is)) if was == is => {}
        _ => changes.push(change(path, Some(was), Some(is))),
    }
}

type ObjectMembers<'j> = BTreeMap<String, &'j RawValue>;

fn compare_members(
    path: &str,
    was: &ObjectMembers<'_>,
    is: &ObjectMembers<'_>,
    changes: &mut Vec<Change>,
) {
    let added = is.keys().filter(|name| !was.contains_key(*name));
    for name in was.keys().chain(added) {
        compare_values(&member(path, name), was.get(name), is.get(name), changes);
    }
}

/// Common elements at both ends of a list are skipped, so that one element more or less is one change.
fn compare_elements(path: &str, was: &[&RawValue], is: &[&RawValue], changes: &mut Vec<Change>) {
    let common = was.len().min(is.len());
    let start = was.iter().zip(is).take_while(|(was, is)| are_same(was, is)).count();
    let ends = was.iter().rev().zip(is.iter().rev()).take(common - start);
    let end = ends.take_while(|(was, is)| are_same(was, is)).count();
    let (was, is) = (&was[start..was.len() - end], &is[start..is.len() - end]);
    for index in 0..was.len().max(is.len()) {
        let path = format!("{path}[{}]", start + index);
        compare_values(&path, was.get(index), is.get(index), changes);
    }
}

fn compare_values(
    path: &str,
    was: Option<&&RawValue>,
    is: Option<&&RawValue>,
    changes: &mut Vec<Change>,
) {
    match (was, is) {
        (Some(was), Some(is)) => compare(path, was, is, changes),
        (was, is) => changes.push(change(path, was.copied(), is.copied())),
    }
}

fn are_same(was: &RawValue, is: &RawValue) -> bool {
    let mut changes = Vec::new();
    compare("", was, is, &mut changes);
    changes.is_empty()
}

fn change(path: &str, was: Option<&RawValue>, is: Option<&RawValue>) -> Change {
    let path = if path.is_empty() { "." } else { path };
    Change {
        path: path.to_owned(),
        was: was.and_then(Text::of_part),
        is: is.and_then(Text::of_part),
    }
}

/// The path of a member; a name that would be mistaken for a path is quoted.
fn member(path: &str, name: &str) -> String {
    let is_plain =
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-$".contains(c));
    match (is_plain, path) {
        (true, "") => name.to_owned(),
        (true, path) => format!("{path}.{name}"),
        (false, path) => format!("{path}[{}]", serde_json::Value::from(name)),
    }
}

/// The kind of a value, as far as the comparison needs it.
enum Shape<'j> {
    Object(ObjectMembers<'j>),
    List(Vec<&'j RawValue>),
    String(String),
    /// A number, `true`, `false` or `null`, or a text that JSON allows and no string can hold.
    Other(&'j str),
}

impl<'j> Shape<'j> {
    fn of(value: &'j RawValue) -> Self {
        let text = value.get();
        let shape = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map(Shape::Object),
            Some(b'[') => serde_json::from_str(text).map(Shape::List),
            Some(b'"') => serde_json::from_str(text).map(Shape::String),
            _ => Ok(Shape::Other(text)),
        };
        shape.unwrap_or(Shape::Other(text))
    }
}

/// The text without whitespace outside its strings.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let kept = in_string || !c.is_ascii_whitespace();
        in_string ^= *c == '"' && !escaped;
        escaped = in_string && *c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(json: &str) -> Text {
        Text::of(json.as_bytes()).unwrap_or_else(|| panic!("{json}"))
    }

    /// The changes, a line each: path, old value, new value.
    fn lines(was: &str, is: &str) -> Vec<String> {
        let shown = |text: &Option<Text>| text.as_ref().map_or("-", Text::get).to_owned();
        let line = |change: Change| {
            format!("{} {} {}", change.path, shown(&change.was), shown(&change.is))
        };
        diff(&text(was), &text(is)).into_iter().map(line).collect()
    }

    #[test]
    fn a_change_is_told_at_its_innermost_path() {
        let was = r#"{"AutoshipInfo": {"Custom": {"Field1": null}, "Lines": [{"Price": 10}]}}"#;
        let is = was.replace("null", r#" "a b" "#).replace("10", "11");
        assert_eq!(
            lines(was, &is),
            [r#"AutoshipInfo.Custom.Field1 null "a b""#, "AutoshipInfo.Lines[0].Price 10 11"]
        );
    }

    #[test]
    fn numbers_are_compared_as_they_are_written() {
        assert_eq!(lines("[1.0, 2]", "[1.00, 2]"), ["[0] 1.0 1.00"]);
        assert_eq!(
            lines("12345678901234567890.1", "12345678901234567890.2"),
            [". 12345678901234567890.1 12345678901234567890.2"]
        );
        assert!(lines(r#"{"a":1e400}"#, r#"{ "a" : 1e400 }"#).is_empty());
    }

    #[test]
    fn strings_are_compared_as_they_are_read() {
        assert!(lines(r#""\u0061\/""#, r#""a/""#).is_empty());
        assert_eq!(lines(r#""1""#, "1"), [r#". "1" 1"#]);
        assert!(lines(r#"["\ud800"]"#, r#"["\ud800"]"#).is_empty());
    }

    #[test]
    fn what_is_added_or_removed_has_no_other_side() {
        assert_eq!(
            lines(r#"{"a":{"x":[1, 2]}}"#, r#"{"b":null}"#),
            [r#"a {"x":[1,2]} -"#, "b - null"]
        );
        assert_eq!(lines("{}", "[]"), [". {} []"]);
    }

    #[test]
    fn one_element_more_or_less_is_one_change() {
        assert_eq!(lines("[1,2,3]", "[0,1,2,3]"), ["[0] - 0"]);
        assert_eq!(lines("[1,2,3]", "[1,3]"), ["[1] 2 -"]);
        assert_eq!(lines("[1,1]", "[1]"), ["[1] 1 -"]);
        assert_eq!(lines("[1,2,3]", "[1,4,3,5]"), ["[1] 2 4", "[3] - 5"]);
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_quoted() {
        assert_eq!(
            lines(r#"{"a.b":{"":1,"c":2}}"#, r#"{"a.b":{"":2,"c":3}}"#),
            [r#"["a.b"][""] 1 2"#, r#"["a.b"].c 2 3"#]
        );
    }

    #[test]
    fn blanks_inside_strings_stay() {
        assert_eq!(text(r#"{ "a b" : [ "\" c\\" , " d" ] }"#).get(), r#"{"a b":["\" c\\"," d"]}"#);
        assert!(Text::of(b"not json").is_none());
        assert!(Text::of(b"\"\xff\"").is_none());
    }

    fn json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a \"\\\\{\\[é]{0,4}".prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c.]{0,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same document with the members of every object in the opposite order.
    fn reversed(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.iter().rev();
                Value::Object(
                    members.map(|(name, value)| (name.clone(), reversed(value))).collect(),
                )
            }
            Value::Array(elements) => elements.iter().map(reversed).collect(),
            scalar => scalar.clone(),
        }
    }

    proptest! {
        #[test]
        fn equal_documents_have_no_difference(value in json()) {
            let written = serde_json::to_string_pretty(&value).unwrap();
            prop_assert!(lines(&value.to_string(), &written).is_empty());
        }

        #[test]
        fn the_order_of_members_is_no_difference(value in json()) {
            let other = reversed(&value);
            prop_assert!(lines(&value.to_string(), &other.to_string()).is_empty());
        }

        #[test]
        fn documents_that_differ_have_a_difference(was in json(), is in json()) {
            let changes = lines(&was.to_string(), &is.to_string());
            prop_assert_eq!(changes.is_empty(), was == is);
        }

        #[test]
        fn compacting_loses_nothing_but_blanks(value in json()) {
            let written = serde_json::to_string_pretty(&value).unwrap();
            let compact = text(&written);
            prop_assert_eq!(compact.get(), value.to_string());
        }

        #[test]
        fn each_change_is_of_the_two_documents(was in json(), is in json()) {
            for change in diff(&text(&was.to_string()), &text(&is.to_string())) {
                prop_assert_ne!(&change.was, &change.is);
            }
        }
    }
}
