//! Bodies of requests and responses, as they came.

use maud::{Markup, html};
use text::inert_lines;

use crate::json::json;

/// The most bytes of a body that is not JSON that are shown.
const LONGEST: usize = 64 * 1024;

/// A body: JSON indented digit for digit, other text as it is, its size, and links to the bytes: `href`, and with
/// `?download=1` as a file. Places where `find` stands are marked.
pub fn body(bytes: &[u8], find: &str, href: &str) -> Markup {
    if bytes.is_empty() {
        return html! { p.empty { "Empty." } };
    }
    let text = String::from_utf8_lossy(bytes);
    let json = json(&text, find);
    let copied = (bytes.len() <= LONGEST && std::str::from_utf8(bytes).is_ok()).then_some(&text);
    html! {
        p.bar {
            span.soft { (size(bytes.len())) }
            a href=(href) { "Raw" }
            a href={ (href) "?download=1" } { "Download" }
            @if let Some(text) = copied { button.copy type="button" hidden data-copy=(text) { "Copy" } }
            @if json.is_some() { button.copy type="button" hidden data-fold { "Fold" } }
        }
        @match json {
            Some(view) => (view.markup),
            None => {
                pre tabindex="0" { (inert_lines(&text[..text.floor_char_boundary(LONGEST)])) }
                @if text.len() > LONGEST { p.hint { "The rest is too long to be shown. See it raw, or download it." } }
            }
        }
    }
}

/// A number of bytes, for people.
pub fn size(bytes: usize) -> String {
    match bytes {
        1 => "1 byte".to_owned(),
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// A request as a command line of cURL, for a POSIX shell.
pub fn curl<'h>(
    method: &str,
    url: &str,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &str,
) -> String {
    let mut command = format!("curl -X {method} {}", quoted(url));
    for (name, value) in headers {
        // The length is cURL's own to say.
        if !name.eq_ignore_ascii_case("content-length") && !name.eq_ignore_ascii_case("host") {
            command.push_str(&format!(" \\\n  -H {}", quoted(&format!("{name}: {value}"))));
        }
    }
    if !body.is_empty() {
        command.push_str(&format!(" \\\n  --data-raw {}", quoted(body)));
    }
    command
}

/// Text in single quotes, in which a POSIX shell changes nothing.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_curl_quotes_whatever_a_shell_would_change() {
        let command = curl(
            "POST",
            "http://x.test/?a=$(b)",
            [("X-A", "it's"), ("Content-Length", "9")],
            "{\"a\":\"'\"}",
        );
        assert_eq!(
            command,
            "curl -X POST 'http://x.test/?a=$(b)' \\\n  -H 'X-A: it'\\''s' \\\n  --data-raw '{\"a\":\"'\\''\"}'"
        );
    }

    #[test]
    fn bytes_that_are_no_json_are_text_and_what_steers_is_escaped() {
        let shown = body(b"<b>\x1b[2J\xff", "", "raw").into_string();
        assert!(shown.contains("&lt;b&gt;\\u001b[2J"), "{shown}");
        assert!(shown.contains("href=\"raw?download=1\"") && shown.contains("8 bytes"), "{shown}");
        assert!(!shown.contains("data-copy"), "bytes that are no text are not copied as text");
    }
}
