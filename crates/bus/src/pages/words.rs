//! The words of states and outcomes, and times as people read them.

use ::pages::{Tone, chip};
use chrono::TimeDelta;
use contract::time::Timestamp;
use maud::{Markup, html};

use crate::Bus;

/// The outcomes of an attempt, by their name in the API.
pub(super) const OUTCOMES: [(&str, &str); 5] = [
    ("delivered", "delivered"),
    ("again", "will retry"),
    ("given_up", "given up"),
    ("gone", "ended by a 410"),
    ("copy", "copy"),
];

/// The ranges of time before now.
pub(super) const RANGES: [(&str, &str); 5] = [
    ("15m", "last 15 minutes"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
];

/// A badge of the outcome of an attempt, or of the state of a delivery.
pub(super) fn outcome(word: &str) -> Markup {
    let text = OUTCOMES.iter().find(|(name, _)| *name == word).map_or(word, |(_, text)| text);
    let tone = match word {
        "delivered" => Tone::Good,
        "given_up" | "gone" => Tone::Bad,
        "again" | "waiting" => Tone::Warn,
        _ => Tone::Plain,
    };
    chip(tone, text)
}

/// A reason as a sentence: with a capital at its beginning and a full stop at its end.
pub(super) fn sentence(reason: &str) -> String {
    let mut chars = reason.chars();
    let Some(first) = chars.next() else { return String::new() };
    let stop = if reason.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), chars.as_str())
}

/// A number with its noun.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// The bus's time, for times on a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) time: Timestamp,
    /// True if it is that of the machine, by which a browser counts on.
    is_real: bool,
}

impl Now {
    pub(super) fn of(bus: &Bus) -> Self {
        let time = bus.now();
        let is_real = (time - contract::time::now()).abs() < TimeDelta::seconds(5);
        Now { time, is_real }
    }

    /// A time as its distance from now, with the exact time as its title.
    pub(super) fn ago(&self, time: Timestamp) -> Markup {
        if self.is_real {
            return ::pages::ago(time, self.time);
        }
        let distance = match self.time - time {
            past if past >= TimeDelta::zero() => format!("{} ago", ::pages::since(past)),
            ahead => format!("in {}", ::pages::since(-ahead)),
        };
        let exact = time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
        html! { time datetime=(time.to_rfc3339()) title=(exact) { (distance) } }
    }

    pub(super) fn some_ago(&self, time: Option<Timestamp>, none: &str) -> Markup {
        html! { @match time { Some(time) => (self.ago(time)), None => (none) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_becomes_a_sentence() {
        assert_eq!(sentence("there is no subscription x"), "There is no subscription x.");
        assert_eq!((sentence("É?"), sentence("")), ("É?".into(), String::new()));
    }
}
