//! Event names as path segments.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// An event's name as one path segment, percent-encoded: names may contain `/`.
pub fn segment(name: &str) -> String {
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, OTHERS).to_string()
}

/// True if a name would leave the path that it is appended to (path traversal). Encoding does not help: a dot segment
/// is one even when percent-encoded, and proxies may decode once more and read `\` as `/`.
pub fn is_path_traversal(name: &str) -> bool {
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    name.split(['/', '\\']).any(dots) || (decoded != name && is_path_traversal(&decoded))
}
