//! Secrets as people write them: files that nobody else can change, and texts that a sender can send.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// What stands for a key in `receiver.example.toml` and in messages; everybody knows it.
pub(super) const PLACEHOLDER: &str = "…";

/// Shorter keys are found by trying.
const SHORTEST: usize = 8;

/// Keys with fewer different characters are, too.
const LEAST_DIFFERENT: usize = 4;

/// Whether there is nothing in a key, or what only stands for one.
pub(crate) fn is_empty(key: &str) -> bool {
    key == PLACEHOLDER || key.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// Why nobody can send a key as it is written, and what mends that; the words do not repeat it.
///
/// `in_header` says that it goes into a header as it is, as bearer keys do; others are signed with.
pub(crate) fn flaw(key: &str, in_header: bool) -> Option<String> {
    if is_empty(key) {
        return Some(
            "is empty, or the placeholder of a key; write the key that the other side has too"
                .into(),
        );
    }
    // A key in PEM has lines, and no header carries it.
    let is_pem = key.starts_with("-----BEGIN ");
    let text = if is_pem { key.trim_end() } else { key };
    if let Some(c) = text.chars().find(|c| is_invisible(*c)) {
        return Some(format!(
            "has an invisible character in it, U+{:04X}; write it again, in a file without a byte order mark",
            u32::from(c)
        ));
    }
    let is_break = |c| is_pem && matches!(c, '\r' | '\n');
    let is_space = |c: char| c.is_whitespace() && c != ' ';
    if text.trim() != text || text.chars().any(|c| (c.is_control() || is_space(c)) && !is_break(c))
    {
        return Some(
            "has spaces around it or control characters in it, which no header can carry; take them away".into(),
        );
    }
    let quotes =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];
    let is_quoted = |(open, close): &(char, char)| {
        text.strip_prefix(*open).is_some_and(|rest| rest.ends_with(*close))
    };
    if quotes.iter().any(is_quoted) {
        return Some("has quotes around it, which count as part of it; take them away".into());
    }
    let scheme = text.split_once(' ').map_or(text, |(scheme, _)| scheme);
    if ["bearer", "bearer:", "authorization:"].iter().any(|word| scheme.eq_ignore_ascii_case(word))
    {
        return Some(format!(
            "begins with {scheme}, which a request has before the key; write only what follows"
        ));
    }
    if in_header && !text.is_ascii() {
        return Some(
            "has a character that is not ASCII, which no two senders put into a header alike; have another made, as `webhook-receiver secret` does".into(),
        );
    }
    None
}

/// Why a key can be found by trying.
pub(super) fn weakness(key: &SecretString) -> Option<String> {
    let text = key.expose_secret();
    let mut different: Vec<char> = text.chars().collect();
    let length = different.len();
    different.sort_unstable();
    different.dedup();
    match (length, different.len()) {
        (..SHORTEST, _) => Some(format!("has fewer than {SHORTEST} characters")),
        (_, ..LEAST_DIFFERENT) => {
            Some(format!("has fewer than {LEAST_DIFFERENT} different characters"))
        }
        _ => None,
    }
}

/// A key's file without the line break at its end.
///
/// # Errors
/// If it cannot be read, or others could write another key into it.
pub(super) fn read_key(file: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    check_writers(file)?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

/// Nobody but its owner and its group may change a file that decides who is let in, or put another in its place.
pub(super) fn check_writers(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;

    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode(file) & OTHERS_WRITE != 0 && file.is_file() {
        let file = file.display();
        return Err(format!(
            "everybody on this machine can write to {file}, and so decide who is let in; run: chmod o-w {file}"
        ));
    }
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folders: Vec<PathBuf> =
        [absolute, real].iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    match folders.iter().find(|folder| mode(folder) & (OTHERS_WRITE | STICKY) == OTHERS_WRITE) {
        None => Ok(()),
        Some(folder) => Err(format!(
            "everybody on this machine can put another file in the place of {}; run: chmod o-w {}",
            file.display(),
            folder.display()
        )),
    }
}

/// Whether a character shows nowhere: format characters, and others that take no room.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const KEY: &str = "Ab!c@d%e$f^g&h 1234567890";

    #[test]
    fn what_nobody_can_send_is_no_key_and_is_not_repeated() {
        for (key, words) in [
            (format!("\u{feff}{KEY}"), "U+FEFF"),
            (format!("{KEY}\u{200b}"), "U+200B"),
            (format!("Ab\u{ad}{KEY}"), "U+00AD"),
            (format!("Ab\u{2060}{KEY}"), "U+2060"),
            (format!("Ab\u{202e}{KEY}"), "U+202E"),
            (format!("\u{a0}{KEY}"), "spaces around"),
            (format!("{KEY}\u{a0}x"), "spaces around"),
            (format!("{KEY}\u{2003}x"), "spaces around"),
            (format!("{KEY} "), "spaces around"),
            (format!("{KEY}\n"), "spaces around"),
            (format!("a\t{KEY}"), "control characters"),
            (format!("\"{KEY}\""), "quotes"),
            (format!("'{KEY}'"), "quotes"),
            (format!("\u{201c}{KEY}\u{201d}"), "quotes"),
            (format!("Bearer {KEY}"), "begins with Bearer"),
            (format!("bearer {KEY}"), "begins with bearer"),
            (format!("Authorization: Bearer {KEY}"), "begins with Authorization:"),
            ("Bearer".to_owned(), "begins with Bearer"),
            (format!("{KEY}\u{e9}"), "not ASCII"),
            (String::new(), "is empty"),
            ("\u{feff}\u{a0}".to_owned(), "is empty"),
            ("…".to_owned(), "is empty"),
        ] {
            let flaw = flaw(&key, true).unwrap_or_else(|| panic!("{key:?}"));
            assert!(flaw.contains(words) && !flaw.contains("c@d"), "{key:?}: {flaw}");
        }
    }

    #[test]
    fn what_somebody_can_send_is_a_key() {
        for key in [KEY, "\"", "'a", "bearer-of-news", "-----BEGIN x\r\ny\n-----END x\n"] {
            assert_eq!(flaw(key, true), None, "{key:?}");
        }
        assert_eq!(flaw("sch\u{f6}n", false), None, "one can sign with it");
    }

    #[test]
    fn a_key_that_is_found_by_trying_is_weak() {
        for key in ["a", "1234567", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababab"] {
            assert!(weakness(&key.into()).is_some(), "{key}");
        }
        assert!(weakness(&"stage-key".into()).is_none());
    }

    #[test]
    fn a_file_that_others_can_change_decides_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "k\r\n").unwrap();
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (of_file, of_folder, words) in [
            (0o600, 0o755, ""),
            (0o664, 0o775, ""),
            (0o600, 0o1777, ""),
            (0o666, 0o755, "chmod o-w"),
            (0o602, 0o755, "can write to"),
            (0o600, 0o777, "in the place of"),
        ] {
            allow(&file, of_file);
            allow(folder.path(), of_folder);
            let link = tempfile::tempdir().unwrap();
            let link = link.path().join("link");
            std::os::unix::fs::symlink(&file, &link).unwrap();
            for path in [&file, &link] {
                match read_key(path) {
                    Ok(key) => assert_eq!((key.expose_secret(), words), ("k", "")),
                    Err(why) => assert!(!words.is_empty() && why.contains(words), "{why}"),
                }
            }
        }
        allow(folder.path(), 0o755);
    }
}
