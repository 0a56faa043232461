//! Validation of written secrets: files that no other user can change, and texts that a sender can send.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use http::HeaderName;
use secrecy::{ExposeSecret, SecretString};

/// The placeholder of a key in `receiver.example.toml` and in messages; it is public.
pub(super) const PLACEHOLDER: &str = "…";

/// The shortest key that cannot be guessed, in characters.
const MIN_LENGTH: usize = 8;

/// The fewest distinct characters of such a key.
const MIN_DISTINCT: usize = 4;

/// The text before a key in a header's value.
const SCHEMES: [&str; 5] = ["bearer", "bearer:", "basic", "token", "apikey"];

/// True if a key is empty or a placeholder.
pub fn is_empty(key: &str) -> bool {
    let is_in_brackets = key.starts_with('<') && key.ends_with('>');
    is_in_brackets
        || key == PLACEHOLDER
        || key.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// The reason that a key cannot be sent as written, and the correction, without the key itself.
///
/// `in_header` is true for bearer keys, which a header carries as they are; others sign.
pub fn flaw(key: &str, in_header: bool) -> Option<String> {
    if is_empty(key) {
        return Some(
            "is empty, or the placeholder of a key; write the key that the other side has".into(),
        );
    }
    // A key in PEM has several lines and is never in a header.
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
            "has spaces around it or control characters in it, which no header can carry; remove them".into(),
        );
    }
    let quotes =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];
    let opened = |(open, close): &(char, char)| Some((text.strip_prefix(*open)?, *close));
    if let Some((rest, close)) = quotes.iter().find_map(opened) {
        let place = if rest.ends_with(close) { "around" } else { "before" };
        return Some(format!("has quotes {place} it, which count as part of it; remove them"));
    }
    if text.contains("\\n") {
        return Some(
            "has a backslash and an n in it, which mean a line break elsewhere; remove them".into(),
        );
    }
    let (scheme, _) = text.split_once(' ').unwrap_or((text, ""));
    let is_scheme = SCHEMES.iter().any(|word| scheme.eq_ignore_ascii_case(word));
    let header = text.split_inclusive(':').next().filter(|name| is_header_name(name));
    if let Some(before) = header.or(is_scheme.then_some(scheme)) {
        return Some(format!(
            "begins with {before}, which a request has before the key; write only what follows"
        ));
    }
    if in_header && !text.is_ascii() {
        return Some(
            "has a character that is not ASCII, which senders encode differently in a header; make another one, as `webhook-receiver secret` does".into(),
        );
    }
    None
}

/// True for the name of a header in which keys are sent, with its colon.
fn is_header_name(text: &str) -> bool {
    let Some(text) = text.strip_suffix(':') else { return false };
    let is_own = text.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case("x-"));
    is_own && HeaderName::from_bytes(text.as_bytes()).is_ok()
        || text.eq_ignore_ascii_case("authorization")
}

/// The reason that a key can be guessed.
pub(super) fn weakness(key: &SecretString) -> Option<String> {
    let text = key.expose_secret();
    let mut different: Vec<char> = text.chars().collect();
    let length = different.len();
    different.sort_unstable();
    different.dedup();
    match (length, different.len()) {
        (..MIN_LENGTH, _) => Some(format!("has fewer than {MIN_LENGTH} characters")),
        (_, ..MIN_DISTINCT) => Some(format!("has fewer than {MIN_DISTINCT} different characters")),
        _ => None,
    }
}

/// Reads a key's file, without the line break at its end.
///
/// # Errors
/// If it cannot be read, or other users could change its key.
pub(super) fn read_key(file: &Path) -> Result<SecretString, String> {
    let key = read_secret(file)?;
    check_writers(file)?;
    Ok(key)
}

/// Reads the file of a secret, without the line break at its end.
///
/// # Errors
/// If it cannot be read.
pub fn read_secret(file: &Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

/// Refuses a file with keys that users besides its owner and group can change or replace.
pub(super) fn check_writers(file: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;

    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode(file) & OTHERS_WRITE != 0 && file.is_file() {
        let file = file.display();
        return Err(format!(
            "every user of this machine can write to {file}, and so choose the accepted keys; run: chmod o-w {file}"
        ));
    }
    match folders(file).iter().find(|folder| mode(folder) & (OTHERS_WRITE | STICKY) == OTHERS_WRITE)
    {
        None => Ok(()),
        Some(folder) => Err(format!(
            "every user of this machine can replace {}; run: chmod o-w {}",
            file.display(),
            folder.display()
        )),
    }
}

/// The folders on the way to a file: all above it, and above the target of each link.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let (mut folders, mut links) = (BTreeSet::new(), BTreeSet::new());
    let mut paths = vec![std::path::absolute(file).unwrap_or_else(|_| file.to_owned())];
    while let Some(path) = paths.pop() {
        for (part, folder) in path.ancestors().filter_map(|part| Some((part, part.parent()?))) {
            folders.insert(folder.to_owned());
            let target = std::fs::read_link(part).ok();
            if let Some(target) = target.filter(|_| links.insert(part.to_owned())) {
                paths.push(folder.join(target));
            }
        }
    }
    folders
}

/// True for invisible characters: format characters, and others without width.
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
            (format!("\"{KEY}"), "quotes before"),
            (format!("\u{201c}{KEY}"), "quotes before"),
            ("'".to_owned(), "quotes before"),
            (format!("<{KEY}>"), "is empty"),
            ("<key>".to_owned(), "is empty"),
            (format!("Basic {KEY}"), "begins with Basic"),
            (format!("Token {KEY}"), "begins with Token"),
            (format!("ApiKey {KEY}"), "begins with ApiKey"),
            (format!("X-Api-Key: {KEY}"), "begins with X-Api-Key:"),
            (format!("x-auth:{KEY}"), "begins with x-auth:"),
            (format!("{KEY}\\n"), "backslash"),
            (format!("{KEY}\\r\\n"), "backslash"),
            ("-----BEGIN x\\ny\\n-----END x".to_owned(), "backslash"),
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
        for key in [
            KEY,
            "a\"",
            "it's",
            "bearer-of-news",
            "tokens",
            "x-a",
            "basic:a",
            "a<b>",
            "a:b",
            "-----BEGIN x\r\ny\n-----END x\n",
        ] {
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
            (0o600, 0o777, "replace"),
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

    #[test]
    fn no_folder_on_the_way_to_a_file_may_be_everybodys() {
        let allow = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let place = tempfile::tempdir().unwrap();
        for folder in ["far/real", "links/first", "links/second", "links/folder"] {
            std::fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        let at = |path: &str| place.path().join(path);
        std::fs::write(at("far/real/key"), "k").unwrap();
        let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, at(from)).unwrap();
        link("links/second/key", "../../far/real/key");
        link("links/first/key", "../second/key");
        link("links/folder/there", "../../far/real");
        link("links/round", "round");
        for (folder, file) in [
            ("far", "far/real/key"),
            ("far/real", "links/first/key"),
            ("far", "links/first/key"),
            ("links", "links/first/key"),
            ("links/second", "links/first/key"),
            ("links/folder", "links/folder/there/key"),
            ("far", "links/folder/there/key"),
        ] {
            assert_eq!(check_writers(&at(file)), Ok(()), "{file}");
            allow(&at(folder), 0o777);
            let why = check_writers(&at(file)).expect_err(folder);
            assert!(why.contains("replace") && why.contains("chmod o-w"), "{why}");
            allow(&at(folder), 0o1777);
            assert_eq!(check_writers(&at(file)), Ok(()), "{file}");
            allow(&at(folder), 0o755);
        }
        assert_eq!(check_writers(&at("links/round")), Ok(()), "it leads nowhere");
    }
}
