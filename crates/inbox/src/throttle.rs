//! Throttle for long maintenance: small steps with pauses, in which the inbox serves other calls.

use std::time::Duration;

use tokio::time::Instant;

use super::Result;

/// Rows that one step changes: so few that a concurrent call can wait for them.
pub const STEP_ROWS: usize = 100;

/// Bounds of the pause between two steps.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Ratio of a pause to its step. A step that waits in the writer's queue takes longer, so the pause grows with the load.
const PAUSE_RATIO: u32 = 4;

/// Largest number of tries of a step that the inbox refuses.
const MAX_TRIES: u32 = 12;

/// Runs one step of a long change, then pauses in proportion. A step that fails, as while the inbox is busy, is tried again.
///
/// # Errors
/// The error of the last try.
pub async fn throttled_step<T, F>(mut step: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for tried in 1.. {
        let started = Instant::now();
        let result = step().await;
        let pause = started.elapsed() * PAUSE_RATIO;
        tokio::time::sleep(pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        if result.is_ok() || tried == MAX_TRIES {
            return result;
        }
    }
    unreachable!("the last try returns")
}
