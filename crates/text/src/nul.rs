//! Texts in columns of PostgreSQL, which have every character but NUL.

use std::borrow::Cow;

/// Begins an escape: followed by `0` it stands for NUL, by `1` for itself.
const ESCAPE: char = '\u{10FFFF}';

/// The text as a column holds it.
pub fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return text.into();
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([ESCAPE, '0']),
            ESCAPE => stored.extend([ESCAPE, '1']),
            other => stored.push(other),
        }
    }
    stored.into()
}

/// The text of a column.
pub fn read(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        match (character, character == ESCAPE) {
            (_, true) if characters.next() == Some('0') => text.push('\0'),
            (character, _) => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_no_column_has_a_nul() {
        for text in
            ["", "plain", "a\0b", "\0", "\u{10FFFF}", "\u{10FFFF}0", "é\u{10FFFF}\0\u{10FFFF}1"]
        {
            let column = stored(text);
            assert!(!column.contains('\0'));
            assert_eq!(read(column.into_owned()), text);
        }
        assert!(matches!(stored("plain"), Cow::Borrowed(_)));
    }
}
