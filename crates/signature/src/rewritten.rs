//! Changes to a body between sender and receiver, and the reconstruction of its form before.

use std::fmt;

use serde::de::IgnoredAny;

/// The largest body that is reconstructed, in bytes.
const MAX_BODY: usize = 1024 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The form of the body that was signed, if it differs from the received one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten {
    /// Without the line break at the end.
    WithoutLineBreak,
    /// With a line feed at the end.
    LineFeed,
    /// With a carriage return and a line feed at the end.
    CarriageReturn,
    /// Without the byte order mark.
    WithoutBom,
    /// With a byte order mark.
    Bom,
    /// With lines that end in a line feed only.
    UnixLines,
    /// With lines that end in a carriage return and a line feed.
    WindowsLines,
    /// The same JSON with other white space.
    Json(Layout),
    /// The same, with a line feed at the end: tools that write JSON to a file or a terminal often add one.
    JsonLine(Layout),
    /// The same with its strings encoded anew, as parsing and writing JSON does.
    Texts(Layout, Escapes),
}

/// The characters of a string that are escaped, besides those that must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    /// None, as in JavaScript.
    None,
    /// All that are not ASCII, as in Python.
    Unicode,
    /// All that are not ASCII, and slashes, as in PHP.
    UnicodeAndSlashes,
}

/// The white space of a JSON text. Keys keep their order, and numbers their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// None.
    Compact,
    /// One after each comma and colon.
    Spaced,
    /// A line for each value, this many spaces for each level.
    Indented(usize),
}

impl Rewritten {
    /// Every form, the most common first.
    pub(super) fn all() -> impl Iterator<Item = Rewritten> {
        use Rewritten::{
            Bom, CarriageReturn, Json, JsonLine, LineFeed, Texts, UnixLines, WindowsLines,
            WithoutBom, WithoutLineBreak,
        };
        let layouts = [Layout::Compact, Layout::Spaced, Layout::Indented(2), Layout::Indented(4)];
        [WithoutLineBreak, LineFeed, CarriageReturn, WithoutBom, Bom, UnixLines, WindowsLines]
            .into_iter()
            .chain(layouts.map(Json))
            .chain(layouts.map(JsonLine))
            .chain([
                Texts(Layout::Compact, Escapes::None),
                Texts(Layout::Compact, Escapes::Unicode),
                Texts(Layout::Compact, Escapes::UnicodeAndSlashes),
                Texts(Layout::Spaced, Escapes::None),
                Texts(Layout::Spaced, Escapes::Unicode),
            ])
    }

    /// The body in this form, if it differs.
    pub(super) fn of(self, body: &[u8]) -> Option<Vec<u8>> {
        let form = match self {
            Rewritten::WithoutLineBreak => without_line_break(body)?.to_vec(),
            Rewritten::LineFeed => [body, b"\n"].concat(),
            Rewritten::CarriageReturn => [body, b"\r\n"].concat(),
            Rewritten::WithoutBom => body.strip_prefix(BOM)?.to_vec(),
            Rewritten::Bom => [BOM, body].concat(),
            Rewritten::UnixLines => unix_lines(body),
            Rewritten::WindowsLines => windows_lines(body),
            Rewritten::Json(layout) => layout.of(body, as_it_is)?,
            Rewritten::JsonLine(layout) => [&layout.of(body, as_it_is)?, b"\n".as_slice()].concat(),
            Rewritten::Texts(layout, escapes) => {
                layout.of(body, |text, out| escapes.write(text, out))?
            }
        };
        (form != body && form.len() <= MAX_BODY).then_some(form)
    }
}

fn without_line_break(body: &[u8]) -> Option<&[u8]> {
    body.strip_suffix(b"\r\n").or_else(|| body.strip_suffix(b"\n"))
}

fn unix_lines(body: &[u8]) -> Vec<u8> {
    let next = body.iter().skip(1).map(Some).chain([None]);
    let kept =
        body.iter().zip(next).filter(|(byte, next)| **byte != b'\r' || *next != Some(&b'\n'));
    kept.map(|(byte, _)| *byte).collect()
}

fn windows_lines(body: &[u8]) -> Vec<u8> {
    let unix = unix_lines(body);
    let lines: Vec<&[u8]> = unix.split(|byte| *byte == b'\n').collect();
    lines.join(b"\r\n".as_slice())
}

impl Layout {
    /// The JSON text with this white space and no other; `write` writes its strings, quotes included.
    fn of(self, body: &[u8], write: impl Fn(&[u8], &mut Vec<u8>)) -> Option<Vec<u8>> {
        serde_json::from_slice::<IgnoredAny>(body).ok()?;
        let mut out = Vec::with_capacity(body.len());
        let (mut at, mut depth) = (0, 0_usize);
        while let Some(&byte) = body.get(at).filter(|_| out.len() <= MAX_BODY) {
            at += 1;
            match byte {
                b'"' => {
                    let end = at + string_length(&body[at..]);
                    write(&body[at - 1..end], &mut out);
                    at = end;
                }
                b'{' | b'[' => {
                    out.push(byte);
                    at += blanks(&body[at..]);
                    if let Some(&close @ (b'}' | b']')) = body.get(at) {
                        out.push(close);
                        at += 1;
                    } else {
                        depth += 1;
                        self.new_line(&mut out, depth);
                    }
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.new_line(&mut out, depth);
                    out.push(byte);
                }
                b',' => {
                    out.push(byte);
                    self.new_line(&mut out, depth);
                    out.extend((self == Layout::Spaced).then_some(b' '));
                }
                b':' => {
                    out.push(byte);
                    out.extend((self != Layout::Compact).then_some(b' '));
                }
                byte if byte.is_ascii_whitespace() => {}
                byte => out.push(byte),
            }
        }
        Some(out)
    }

    fn new_line(self, out: &mut Vec<u8>, depth: usize) {
        if let Layout::Indented(spaces) = self {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', spaces * depth));
        }
    }
}

fn as_it_is(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(text);
}

impl Escapes {
    /// Writes the string, quotes included, with these characters escaped.
    fn write(self, text: &[u8], out: &mut Vec<u8>) {
        let parsed = serde_json::from_slice::<String>(text);
        let Ok(plain) = parsed.and_then(|text| serde_json::to_string(&text)) else {
            return as_it_is(text, out);
        };
        for c in plain.chars() {
            match c {
                '/' if self == Escapes::UnicodeAndSlashes => out.extend_from_slice(b"\\/"),
                c if self != Escapes::None && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    }
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

/// The length of the rest of a string, its closing quote included.
fn string_length(rest: &[u8]) -> usize {
    let mut escaped = false;
    let ends = |byte: &u8| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    };
    rest.iter().position(ends).map_or(rest.len(), |quote| quote + 1)
}

fn blanks(rest: &[u8]) -> usize {
    rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

const PARSED: &str = "the body was re-serialised on the way: it matches as";

const PARSE_NOT: &str = "so let no proxy or framework parse it";

impl fmt::Display for Rewritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Rewritten::WithoutLineBreak => "a line break was added to the end of the body",
            Rewritten::LineFeed => "a line feed at the end of the body was taken away",
            Rewritten::CarriageReturn => {
                "a carriage return and a line feed at the end of the body were taken away"
            }
            Rewritten::WithoutBom => "a byte order mark was put before the body",
            Rewritten::Bom => "the byte order mark before the body was taken away",
            Rewritten::UnixLines => "the body's line ends were made those of Windows",
            Rewritten::WindowsLines => "the body's line ends were made those of Unix",
            Rewritten::Json(layout) => return write!(f, "{PARSED} {layout}, {PARSE_NOT}"),
            Rewritten::JsonLine(layout) => {
                return write!(f, "{PARSED} {layout} with a line feed at the end, {PARSE_NOT}");
            }
            Rewritten::Texts(layout, escapes) => {
                return write!(f, "{PARSED} {layout} with {escapes}, {PARSE_NOT}");
            }
        };
        write!(f, "{what} on the way, and the bytes must arrive as they were signed")
    }
}

impl fmt::Display for Escapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Escapes::None => "no character escaped that need not be",
            Escapes::Unicode => "all characters escaped that are not ASCII",
            Escapes::UnicodeAndSlashes => "slashes escaped and all characters that are not ASCII",
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Compact => f.write_str("compact JSON"),
            Layout::Spaced => {
                f.write_str("JSON on one line, with a space after each comma and colon")
            }
            Layout::Indented(spaces) => write!(f, "JSON indented by {spaces} spaces"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of other programs for one value: Python's `json.dumps`, and serde for the rest.
    const COMPACT: &str = r#"{"b":[1,2.50,{}],"a":"x, y: \"{z}\"","e":[],"n":{"k":null}}"#;
    const SPACED: &str = r#"{"b": [1, 2.50, {}], "a": "x, y: \"{z}\"", "e": [], "n": {"k": null}}"#;
    const INDENTED: &str = "{\n  \"b\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"a\": \"x, y: \\\"{z}\\\"\",\n  \"e\": [],\n  \"n\": {\n    \"k\": null\n  }\n}";

    #[test]
    fn every_layout_is_made_of_every_other() {
        let indented4 = INDENTED.replace("  ", "    ");
        let texts = [
            (Layout::Compact, COMPACT),
            (Layout::Spaced, SPACED),
            (Layout::Indented(2), INDENTED),
            (Layout::Indented(4), &indented4),
        ];
        for (layout, text) in &texts {
            for (_, from) in &texts {
                let made = layout.of(from.as_bytes(), as_it_is).unwrap();
                assert_eq!(std::str::from_utf8(&made).unwrap(), *text, "{layout}");
            }
            let blank_objects = text.replace("{}", "{ }").replace("[]", "[\n]");
            assert_eq!(layout.of(blank_objects.as_bytes(), as_it_is).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn texts_are_written_as_others_write_them() {
        let plain = r#"{"ключ":"é/😀\"\n\\"}"#;
        let python = r#"{"\u043a\u043b\u044e\u0447": "\u00e9/\ud83d\ude00\"\n\\"}"#;
        let php = python.replace('/', r"\/").replace(": ", ":");
        for (layout, escapes, expected) in [
            (Layout::Compact, Escapes::None, plain),
            (Layout::Spaced, Escapes::Unicode, python),
            (Layout::Compact, Escapes::UnicodeAndSlashes, &php),
        ] {
            for from in [plain, python, &php].into_iter().filter(|from| *from != expected) {
                let made = Rewritten::Texts(layout, escapes).of(from.as_bytes()).unwrap();
                assert_eq!(String::from_utf8(made).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_is_no_json_has_no_layout_and_what_would_not_change_is_not_tried() {
        assert_eq!(Rewritten::Json(Layout::Compact).of(b"{\"a\":}"), None);
        assert_eq!(Rewritten::Json(Layout::Compact).of(COMPACT.as_bytes()), None);
        assert_eq!(Rewritten::WithoutBom.of(b"{}"), None);
        assert_eq!(Rewritten::UnixLines.of(b"{}\n"), None);
    }

    #[test]
    fn a_body_that_grows_beyond_bounds_is_not_tried() {
        let deep = format!("{}{}{}", "[".repeat(100), "1,".repeat(10_000) + "1", "]".repeat(100));
        assert_eq!(Rewritten::Json(Layout::Indented(4)).of(deep.as_bytes()), None);
        assert!(Rewritten::Json(Layout::Spaced).of(deep.as_bytes()).is_some());
    }

    #[test]
    fn line_ends_are_changed_both_ways() {
        let (unix, windows) = (b"{\n1\n}\n".as_slice(), b"{\r\n1\r\n}\r\n".as_slice());
        assert_eq!(Rewritten::UnixLines.of(windows).as_deref(), Some(unix));
        assert_eq!(Rewritten::WindowsLines.of(unix).as_deref(), Some(windows));
    }
}
