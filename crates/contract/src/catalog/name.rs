//! Names of events as path segments, and the two spellings of hooks' ids.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// An event's name as one path segment, percent-encoded: names may contain `/`.
pub fn segment(name: &str) -> String {
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(name, OTHERS).to_string()
}

/// The namespace of autoships in the vendor's two spellings. The first is the one on the wire; the second is in the
/// callback's address and in the headings of "How Process Hooks Work".
const AUTOSHIPS: [&str; 2] = ["Autoships.", "Autoship."];

/// A hook's id in the vendor's other spelling of its namespace, if there are two: `Autoship.X` for `Autoships.X`, and
/// the reverse.
pub fn respelled(id: &str) -> Option<String> {
    let [wire, prose] = AUTOSHIPS;
    [(wire, prose), (prose, wire)].into_iter().find_map(|(own, other)| {
        let (namespace, rest) = id.split_at_checked(own.len())?;
        namespace.eq_ignore_ascii_case(own).then(|| format!("{other}{rest}"))
    })
}

/// True if a name would leave the path that it is appended to (path traversal). Encoding does not help: a dot segment
/// is one even when percent-encoded, and proxies may decode once more and read `\` as `/`.
pub fn is_path_traversal(name: &str) -> bool {
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    name.split(['/', '\\']).any(dots) || (decoded != name && is_path_traversal(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_namespace_of_autoships_has_two_spellings() {
        for (id, other) in [
            ("Autoships.CreateAutoship", Some("Autoship.CreateAutoship")),
            ("autoship.CreateAutoship", Some("Autoships.CreateAutoship")),
            ("AUTOSHIPS.x", Some("Autoship.x")),
            ("Autoships", None),
            ("Autoshipss.X", None),
            ("My.Autoships.X", None),
            ("Orders.SubmitOrder", None),
            ("Autosh\u{ef}p.X", None),
            ("", None),
        ] {
            assert_eq!(respelled(id).as_deref(), other, "{id}");
        }
    }
}
