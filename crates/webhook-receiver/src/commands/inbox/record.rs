//! Record of a command's act in the inbox, which consoles show.

use std::time::{Duration, Instant};

use anyhow::bail;
use inbox::{ActKind, ActProgress, ActState, Inbox, NewAct, Options};

/// Time between two records of the progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// The act of this command.
pub(super) struct ActRecord<'i> {
    inbox: &'i dyn Inbox,
    id: i64,
    done: u64,
    recorded_at: Instant,
}

impl<'i> ActRecord<'i> {
    /// Begins an act; `total` is 0 if the number of deliveries is not known.
    pub(super) async fn begin(
        inbox: &'i dyn Inbox,
        kind: ActKind,
        subject: String,
        reason: Option<String>,
        total: u64,
    ) -> anyhow::Result<Self> {
        let act = NewAct { kind, actor: actor(), subject, reason, total, state: ActState::Running };
        let id = inbox.begin_act(act).await?;
        Ok(ActRecord { inbox, id, done: 0, recorded_at: Instant::now() })
    }

    /// Adds to what is done.
    ///
    /// # Errors
    /// If an operator has cancelled the act.
    pub(super) async fn add(&mut self, done: u64) -> anyhow::Result<()> {
        self.done += done;
        if self.recorded_at.elapsed() < INTERVAL {
            return Ok(());
        }
        self.recorded_at = Instant::now();
        if !self.record(ActState::Running, None).await? {
            bail!("cancelled by an operator, after {} deliveries", self.done);
        }
        Ok(())
    }

    /// Ends the act with its result, which is returned.
    pub(super) async fn end<T>(self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        match &result {
            Ok(_) => drop(self.record(ActState::Done, None).await?),
            // The error that is reported is the first one.
            Err(error) => {
                let _ = self.record(ActState::Failed, Some(format!("{error:#}"))).await;
            }
        }
        result
    }

    async fn record(&self, state: ActState, error: Option<String>) -> inbox::Result<bool> {
        let progress = ActProgress { done: self.done, state, error };
        self.inbox.update_act(self.id, progress).await
    }
}

/// The user and the machine, or `command line` if the user is not known.
fn actor() -> String {
    let owner = Options::command().owner;
    let host = owner.split(':').next().unwrap_or_default();
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    user.filter(|user| !user.is_empty())
        .map_or_else(|| "command line".to_owned(), |user| format!("{user}@{host}"))
}
