//! Notes to be shown once: the confirmation of an action, or a key that was made.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use maud::Markup;
use uuid::Uuid;

/// The largest number of notes that wait to be shown, and the longest time.
const WAITING: usize = 256;
const LONGEST: Duration = Duration::from_secs(600);

/// The notes that wait to be shown. Each is shown to the one who has its token, once: neither a reload nor an address
/// typed by hand shows one.
#[derive(Default)]
pub(super) struct Notes(Mutex<VecDeque<(String, Instant, Markup)>>);

impl Notes {
    /// Keeps a note; returns its token.
    pub(super) fn keep(&self, note: Markup) -> String {
        let token = Uuid::new_v4().simple().to_string();
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|(_, kept, _)| kept.elapsed() < LONGEST);
        if notes.len() >= WAITING {
            notes.pop_front();
        }
        notes.push_back((token.clone(), Instant::now(), note));
        token
    }

    /// Takes the note with this token.
    pub(super) fn take(&self, token: &str) -> Option<Markup> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|(_, kept, _)| kept.elapsed() < LONGEST);
        let index = notes.iter().position(|(its, _, _)| its == token)?;
        notes.remove(index).map(|(_, _, note)| note)
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn a_note_is_shown_once_and_their_number_is_bounded() {
        let notes = Notes::default();
        let first = notes.keep(html! { "first" });
        assert!(notes.take("typed by hand").is_none());
        assert_eq!(notes.take(&first).unwrap().into_string(), "first");
        assert!(notes.take(&first).is_none());
        let tokens: Vec<_> = (0..=WAITING).map(|n| notes.keep(html! { (n) })).collect();
        assert!(notes.take(&tokens[0]).is_none() && notes.take(&tokens[WAITING]).is_some());
    }
}
