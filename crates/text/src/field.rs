//! The grammar of HTTP header fields (RFC 9110), for requests and responses alike.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use http::header::{CONTENT_TYPE, GetAll, HeaderMap, HeaderValue, RETRY_AFTER};

/// The value without optional white space (spaces and tabs) at its ends.
pub fn trimmed(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// The members of a list field, over all its lines, without empty ones.
pub fn list<'h>(lines: GetAll<'h, HeaderValue>) -> impl Iterator<Item = &'h [u8]> {
    let members = |line: &'h HeaderValue| line.as_bytes().split(|byte| *byte == b',');
    lines.into_iter().flat_map(members).map(trimmed).filter(|member| !member.is_empty())
}

/// A value as text: UTF-8, or else Latin-1, which fits every value.
pub fn text(value: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(trimmed(value)) {
        Ok(text) => text.into(),
        Err(_) => trimmed(value).iter().map(|byte| char::from(*byte)).collect::<String>().into(),
    }
}

/// The credentials of an `Authorization` value, if its scheme is `scheme`, in any case.
pub fn credentials<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (own, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ").filter(|_| own.eq_ignore_ascii_case(scheme.as_bytes()))?;
    let start = rest.iter().position(|byte| *byte != b' ')?;
    Some(&rest[start..])
}

/// A media type with its parameters.
#[derive(Debug, PartialEq, Eq)]
pub struct MediaType {
    /// Type and subtype in lower case.
    pub essence: String,
    /// The value of the parameter `charset`.
    pub charset: Option<String>,
}

impl MediaType {
    /// The media type of a message; none if the header is missing, repeated or malformed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CONTENT_TYPE).iter();
        let line = lines.next()?;
        match lines.next() {
            None => MediaType::parse(&text(line.as_bytes())),
            Some(_) => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = unquoted_split(text);
        let essence = parts.next()?.trim_matches(BLANK).to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut charset = None;
        for parameter in parts.map(|part| part.trim_matches(BLANK)).filter(|part| !part.is_empty())
        {
            let (name, value) = parameter.split_once('=')?;
            if charset.is_none() && name.eq_ignore_ascii_case("charset") {
                charset = Some(unquoted(value));
            }
        }
        Some(MediaType { essence, charset })
    }

    /// True for `application/json` and every `application/…+json`.
    pub fn is_json(&self) -> bool {
        self.essence == "application/json"
            || self.essence.starts_with("application/") && self.essence.ends_with("+json")
    }

    /// True if text of this type is UTF-8, or names no charset.
    pub fn is_utf8(&self) -> bool {
        let is = |charset: &String| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        };
        self.charset.as_ref().is_none_or(is)
    }
}

const BLANK: [char; 2] = [' ', '\t'];

fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// The parts between unquoted semicolons.
fn unquoted_split(text: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        c == ';' && !is_quoted
    })
}

/// A parameter's value without its quotes and escapes.
fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        text.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    text
}

/// The delay that `Retry-After` asks for: a number of seconds, or a date in any of the three forms.
pub fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim_matches(BLANK);
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some((parse_date(text)? - now).to_std().unwrap_or_default())
}

/// Parses an HTTP date.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::from)
}

/// Formats an HTTP date.
pub fn format_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        lines.iter().map(line).collect()
    }

    #[test]
    fn credentials_stand_behind_their_scheme_and_at_least_one_space() {
        for value in ["Bearer k", "bearer k", "BEARER  k", "Bearer    k"] {
            assert_eq!(credentials(value.as_bytes(), "Bearer"), Some(&b"k"[..]), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "Bearer   ", "Bearerk", "Bearer\tk", "Basic k", "k"]
        {
            assert_eq!(credentials(value.as_bytes(), "Bearer"), None, "{value}");
        }
    }

    #[test]
    fn a_list_may_take_several_lines_and_have_empty_members() {
        let name = http::header::ACCEPT;
        let headers = headers(&name, &["a, b", "", " ,c\t,, ", "d"]);
        let members: Vec<&[u8]> = list(headers.get_all(&name)).collect();
        assert_eq!(members, [b"a", b"b", b"c", b"d"]);
    }

    #[test]
    fn a_value_is_utf8_or_else_latin_1() {
        assert_eq!(text("Jos\u{e9}".as_bytes()), "Jos\u{e9}");
        assert_eq!(text(b" Jos\xe9\t"), "Jos\u{e9}");
        assert_eq!(text(b"\xff"), "\u{ff}");
    }

    #[test]
    fn a_media_type_is_read_as_its_grammar_has_it() {
        let read = |value: &str| MediaType::of(&headers(&CONTENT_TYPE, &[value]));
        for utf8 in [
            "application/json",
            "Application/JSON;charset=UTF-8",
            "application/json ; charset=\"utf-8\"",
            "application/json;; ;charset=utf8;",
            "application/vnd.a+json; x=\"a;charset=latin1\"; charset=\"ut\\f-8\"",
            "application/json; x=\"\\\";charset=latin1\"",
        ] {
            let media = read(utf8).unwrap_or_else(|| panic!("{utf8}"));
            assert!(media.is_json() && media.is_utf8(), "{utf8}: {media:?}");
        }
        assert!(!read("application/json; charset=iso-8859-1").unwrap().is_utf8());
        assert!(!read("application/json; charset=\"iso-8859-1\"").unwrap().is_utf8());
        for other in ["text/plain", "application/jsonx", "application/x-www-form-urlencoded"] {
            assert!(!read(other).unwrap().is_json(), "{other}");
        }
        for none in ["", "json", "application/", "/json", "a b/json", "application/json; charset"] {
            assert_eq!(read(none), None, "{none}");
        }
        assert_eq!(MediaType::of(&headers(&CONTENT_TYPE, &["a/b", "a/b"])), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_in_each_of_its_forms() {
        let now = DateTime::<Utc>::from_timestamp(784_111_767, 0).unwrap();
        let asked = |value: &str| retry_after(&headers(&RETRY_AFTER, &[value]), now);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((asked("120"), asked("0")), (seconds(120), seconds(0)));
        assert_eq!(asked("99999999999999999999"), seconds(u64::MAX));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(asked(date), seconds(10), "{date}");
        }
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), seconds(0), "it is over");
        for none in ["", "soon", "+5", "-5", "1.5", "5s"] {
            assert_eq!(asked(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (text(&value), credentials(&value, "Bearer"), MediaType::parse(&text(&value)));
        }
    }
}
