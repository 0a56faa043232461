//! JSON to be read: indented token by token, so that no digit, escape or repeated member changes.

use maud::{Markup, PreEscaped, html};
use serde_json::value::RawValue;
use text::inert;

/// The most tokens that are shown.
const TOKENS: usize = 4_000;

/// The most bytes of tokens that are shown.
const BYTES: usize = 192 * 1024;

/// The longest text of one token that is shown, in bytes.
const LONGEST: usize = 8 * 1024;

/// The most levels that are indented.
const LEVELS: usize = 64;

/// JSON as markup.
#[derive(Debug)]
pub struct JsonView {
    /// The text, indented and foldable.
    pub markup: Markup,
    /// Number of places where the searched text stands.
    pub found: usize,
    /// True if the rest is left out, because it is too long or too deep.
    pub is_cut: bool,
}

/// JSON text as markup, with `find` marked where it stands; none if the text is not JSON.
pub fn json(text: &str, find: &str) -> Option<JsonView> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let mut writer = Writer { find, out: String::new(), found: 0, spent: 0, tokens: 0 };
    let is_cut = !writer.write(text);
    let Writer { out, found, .. } = writer;
    let markup = html! {
        div.json tabindex="0" { (PreEscaped(out)) }
        @if is_cut { p.hint { "The rest is too long or too deep to be shown indented. See it raw, or download it." } }
    };
    Some(JsonView { markup, found, is_cut })
}

struct Writer<'f> {
    find: &'f str,
    out: String,
    found: usize,
    spent: usize,
    tokens: usize,
}

impl Writer<'_> {
    /// Writes valid JSON. Returns false if the rest is left out.
    fn write(&mut self, text: &str) -> bool {
        let mut open: Vec<u8> = Vec::new();
        let mut rest = text.trim_start();
        let mut is_line_open = false;
        let mut is_whole = true;
        while let Some(first) = rest.bytes().next() {
            let token = &rest[..token_length(rest)];
            rest = rest[token.len()..].trim_start();
            self.tokens += 1;
            self.spent += token.len().min(LONGEST);
            let is_closing = matches!(first, b'}' | b']');
            if !is_closing && (self.tokens > TOKENS || self.spent > BYTES || open.len() >= LEVELS) {
                is_whole = false;
                break;
            }
            match first {
                b'{' | b'[' if rest.starts_with(['}', ']']) => {
                    let closing = &rest[..1];
                    rest = rest[1..].trim_start();
                    self.begin_line(&mut is_line_open);
                    self.out.push_str(token);
                    self.out.push_str(closing);
                    self.end_line(&mut rest, &mut is_line_open);
                }
                b'{' | b'[' => {
                    // The name of a member stands in the line that is open.
                    let name = is_line_open.then(|| self.take_line());
                    is_line_open = false;
                    self.out.push_str("<details open><summary>");
                    self.out.push_str(&name.unwrap_or_default());
                    self.out.push_str(token);
                    self.out.push_str("</summary><div class=\"in\">");
                    open.push(first);
                }
                b'}' | b']' => {
                    open.pop();
                    self.out.push_str("</div><div>");
                    self.out.push_str(token);
                    if let Some(after) = rest.strip_prefix(',') {
                        self.out.push(',');
                        rest = after.trim_start();
                    }
                    self.out.push_str("</div></details>");
                }
                b'"' if rest.starts_with(':') && open.last() == Some(&b'{') && !is_line_open => {
                    rest = rest[1..].trim_start();
                    self.begin_line(&mut is_line_open);
                    self.token("key", token);
                    self.out.push_str(": ");
                }
                first => {
                    self.begin_line(&mut is_line_open);
                    self.token(kind(first), token);
                    self.end_line(&mut rest, &mut is_line_open);
                }
            }
        }
        if is_line_open {
            self.out.push_str("…</div>");
        }
        for _ in &open {
            self.out.push_str("</div></details>");
        }
        is_whole
    }

    fn begin_line(&mut self, is_open: &mut bool) {
        if !*is_open {
            self.out.push_str(LINE);
            *is_open = true;
        }
    }

    fn end_line(&mut self, rest: &mut &str, is_open: &mut bool) {
        if let Some(after) = rest.strip_prefix(',') {
            self.out.push(',');
            *rest = after.trim_start();
        }
        self.out.push_str("</div>");
        *is_open = false;
    }

    /// Takes back the line that is open.
    fn take_line(&mut self) -> String {
        let begin = self.out.rfind(LINE).unwrap_or_default();
        let line = self.out.split_off(begin);
        line[LINE.len()..].to_owned()
    }

    fn token(&mut self, class: &str, token: &str) {
        let shown = &token[..token.floor_char_boundary(LONGEST)];
        self.out.push_str("<span class=\"");
        self.out.push_str(class);
        self.out.push_str("\">");
        self.marked(&inert(shown));
        if shown.len() < token.len() {
            self.out.push_str(&format!("… ({} bytes more)", token.len() - shown.len()));
        }
        self.out.push_str("</span>");
    }

    /// Writes text, with what is searched marked.
    fn marked(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = position(rest, self.find) {
            escape(&mut self.out, &rest[..at]);
            self.out.push_str("<mark>");
            escape(&mut self.out, &rest[at..at + self.find.len()]);
            self.out.push_str("</mark>");
            rest = &rest[at + self.find.len()..];
            self.found += 1;
        }
        escape(&mut self.out, rest);
    }
}

const LINE: &str = "<div class=\"line\">";

/// The length of the token at the beginning of valid JSON.
fn token_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => {
            let ends =
                |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
            bytes.iter().position(ends).unwrap_or(bytes.len())
        }
    }
}

fn kind(first: u8) -> &'static str {
    match first {
        b'"' => "str",
        b'-' | b'0'..=b'9' => "num",
        _ => "lit",
    }
}

/// The position of a text without regard to the case of ASCII letters.
fn position(text: &str, find: &str) -> Option<usize> {
    if find.is_empty() {
        return None;
    }
    let windows = text.as_bytes().windows(find.len());
    let is_at = |at: &usize| text.is_char_boundary(*at) && text.is_char_boundary(at + find.len());
    windows
        .enumerate()
        .filter(|(_, window)| window.eq_ignore_ascii_case(find.as_bytes()))
        .map(|(at, _)| at)
        .find(is_at)
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of markup, without its elements.
    fn shown(json: &str) -> String {
        let mut text = String::new();
        let markup = super::json(json, "").unwrap().markup.into_string();
        let mut rest = markup.as_str();
        while let Some(begin) = rest.find('<') {
            text.push_str(&rest[..begin]);
            rest = &rest[begin + rest[begin..].find('>').unwrap() + 1..];
        }
        text.push_str(rest);
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
        entities.iter().fold(text, |text, (entity, c)| text.replace(entity, c))
    }

    fn compact(json: &str) -> String {
        let mut text = String::new();
        let mut rest = json.trim();
        while !rest.is_empty() {
            let token = &rest[..token_length(rest)];
            text.push_str(token);
            rest = rest[token.len()..].trim_start();
        }
        text
    }

    #[test]
    fn no_digit_escape_or_repeated_member_changes() {
        let body = r#"{"z":1,"big":12345678901234567890123,"price":1.10,"dup":1,"a":[],"dup":{},"u":"\u00e9\/","e":[1e400,[null,true]]}"#;
        assert_eq!(compact(&shown(body)), body);
    }

    #[test]
    fn markup_in_a_body_is_text() {
        let markup = json(r#"{"<b>":"<script>alert(1)</script>&\""}"#, "").unwrap().markup;
        let markup = markup.into_string();
        assert!(!markup.contains("<script") && !markup.contains("<b>"), "{markup}");
    }

    #[test]
    fn what_is_searched_is_marked_in_any_case() {
        let view = json(r#"{"OrderId":7,"note":"order, ORDER"}"#, "order").unwrap();
        assert_eq!(view.found, 3);
        assert!(view.markup.into_string().contains("<mark>ORDER</mark>"));
        assert_eq!(json("[1]", "").unwrap().found, 0);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_cut_and_its_markup_is_closed() {
        let levels = 520_000;
        let deep = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let named = format!("{}1{}", "{\"a\":[".repeat(50_000), "]}".repeat(50_000));
        let long = format!("[{}1]", "1,".repeat(500_000));
        let string = format!("[\"{}\"]", "x".repeat(1_000_000));
        for (body, is_cut) in [(deep, true), (named, true), (long, true), (string, false)] {
            let view = json(&body, "").unwrap();
            assert_eq!(view.is_cut, is_cut);
            let markup = view.markup.into_string();
            assert!(markup.len() < 1_000_000, "{}", markup.len());
            for element in ["div", "details", "summary", "span"] {
                let (begins, ends) = (format!("<{element}"), format!("</{element}>"));
                assert_eq!(markup.matches(&begins).count(), markup.matches(&ends).count());
            }
        }
    }

    #[test]
    fn what_is_not_json_is_not_shown_as_json() {
        for text in ["", "{", "{} {}", "a=1"] {
            assert!(json(text, "").is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_json_is_shown_as_it_is(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            prop_assume!(text == inert(&text) || pretty);
            prop_assert_eq!(compact(&shown(&text)), compact(&text));
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(serde_json::Value::from),
            "[a-z<>&\"\\\\:,{}]*".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec(("[\"\\\\:a<]*", inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
