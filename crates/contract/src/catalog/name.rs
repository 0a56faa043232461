//! Names of events as parts of a path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// An event's name as one segment of a path: senders may have `/` in their names.
pub fn segment(name: &str) -> String {
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, OTHERS).to_string()
}

/// Whether a name leads out of the path that it is put behind. A part of dots means another folder even when it is
/// percent-encoded, so it cannot be escaped; whoever passes a request on may decode it once more, and take `\\` for `/`.
pub fn leads_away(name: &str) -> bool {
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    name.split(['/', '\\']).any(dots) || (decoded != name && leads_away(&decoded))
}
