//! Escaping of untrusted text, wherever it is shown: in a log, a table or on a terminal.
//!
//! Characters that could steer a terminal, begin a line, hide or reorder text are written as JSON would escape them:
//! JSON stays JSON, and no character is lost.
//!
//! It depends on no crate of the engine; any may depend on it.

pub mod field;
pub mod form;
pub mod json;
mod names;
pub mod nul;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use names::nearest;

/// The first line of a text.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

/// Escapes text for one line.
pub fn inert(text: &str) -> Cow<'_, str> {
    escaped(text, is_active)
}

/// Escapes text of several lines, with tabs: a body, a table, a JSON document.
pub fn inert_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_active(c) && !matches!(c, '\n' | '\t'))
}

/// True for characters with an effect besides being seen: controls, line separators, direction marks, and those without
/// width.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn escaped(text: &str, is_active: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    let plain = text.bytes().position(|byte| !is_plain(byte)).unwrap_or(text.len());
    if !text[plain..].chars().any(&is_active) {
        return Cow::Borrowed(text);
    }
    let mut escaped_text = text[..plain].to_owned();
    for c in text[plain..].chars() {
        match c {
            _ if !is_active(c) => escaped_text.push(c),
            '\n' => escaped_text.push_str("\\n"),
            '\r' => escaped_text.push_str("\\r"),
            '\t' => escaped_text.push_str("\\t"),
            // Writing to a string cannot fail.
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(escaped_text, "\\u{unit:04x}");
            }),
        }
    }
    Cow::Owned(escaped_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_breaks_hides_or_reorders_is_escaped() {
        for (text, shown) in [
            ("\u{1b}[2J\u{7}", "\\u001b[2J\\u0007"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{7f}\u{9b}31m\u{85}", "\\u007f\\u009b31m\\u0085"),
            ("\u{202e}gpj.exe\u{2066}\u{200f}", "\\u202egpj.exe\\u2066\\u200f"),
            ("a\u{200b}b\u{feff}\u{ad}", "a\\u200bb\\ufeff\\u00ad"),
            ("one\u{2028}two\u{2029}", "one\\u2028two\\u2029"),
            ("\u{e0041}", "\\udb40\\udc41"),
        ] {
            assert_eq!(inert(text), shown);
        }
    }

    #[test]
    fn other_text_is_left_as_it_is_and_lines_may_be_kept() {
        let text = "Zoë, 株式会社, \"quoted\" \\ 🦀";
        assert!(matches!(inert(text), Cow::Borrowed(same) if same == text));
        assert_eq!(inert_lines("a\n\tb\rc"), "a\n\tb\\rc");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"\u{202e}key": "\u{7f}\u{9b}\u{1b}\n\u{e0041}\u{2028}é"});
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = inert_lines(&text);
            assert!(shown.is_ascii() || shown.chars().all(|c| c == 'é' || c.is_ascii()), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
