//! Long changes in small steps that leave the inbox to others in between.

use std::time::Duration;

use tokio::time::Instant;

use super::Result;

/// How many rows one step changes: as many as a call beside it can wait for.
pub const STEP: usize = 100;

/// The shortest and the longest time between two steps.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// How many times as long as a step the inbox is left alone after it. A step that had to wait for its turn was in the way
/// of others, so the rest grows with their load.
const SHARE: u32 = 4;

/// How often a step is tried that the inbox has no turn for.
const TRIES: u32 = 12;

/// Runs one step of a long change, then rests in proportion. While others keep the inbox busy, it is tried again.
///
/// # Errors
/// That of the last try.
pub async fn step_aside<T, F>(mut step: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for tried in 1.. {
        let started = Instant::now();
        let result = step().await;
        tokio::time::sleep((started.elapsed() * SHARE).clamp(SHORTEST, LONGEST)).await;
        if result.is_ok() || tried == TRIES {
            return result;
        }
    }
    unreachable!("the last try returns")
}
