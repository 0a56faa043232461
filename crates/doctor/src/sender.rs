//! The documented timeout of senders, in words.

use std::time::Duration;

use source::Sender;

/// The assumed timeout of a sender that documents none.
const USUAL: Duration = Duration::from_secs(10);

/// The documented or assumed timeout.
pub(super) fn limit(sender: &Sender) -> Duration {
    sender.timeout.unwrap_or(USUAL)
}

/// The timeout in words.
pub(super) fn limit_in_words(sender: &Sender) -> String {
    match sender.timeout {
        Some(timeout) => format!("{} waits {} s", sender.title, timeout.as_secs()),
        None => {
            format!("{} documents no time limit; {} s is assumed", sender.title, USUAL.as_secs())
        }
    }
}
