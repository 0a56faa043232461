//! Upkeep of the database of one-effect handlers: deferred events that were left behind, and old marks.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contract::effect::{Acceptor, EffectStore};
use inbox::Upkeep;
use settings::Config;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Interval of looks for deferred events that a process has left behind when it ended.
const LOOK: Duration = Duration::from_secs(10);

/// Interval of looks for old marks.
const PRUNE: Duration = Duration::from_secs(60 * 60);

/// Marks outlive their deliveries by a day: the two databases may have different clocks.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Works until the stop.
pub(super) async fn tend(
    effects: &dyn EffectStore,
    acceptor: &dyn Acceptor,
    config: &Config,
    inbox: &dyn Upkeep,
    stop: &CancellationToken,
) {
    let mut pruned: Option<Instant> = None;
    while !stop.is_cancelled() {
        if let Err(error) = collect(effects, acceptor).await {
            warn!(
                error = format!("{error:#}"),
                "cannot collect the events that handlers have deferred"
            );
        }
        if pruned.is_none_or(|last| last.elapsed() >= PRUNE) {
            pruned = Some(Instant::now());
            if let Err(error) = prune(effects, config, inbox, stop).await {
                warn!(
                    error = format!("{error:#}"),
                    "cannot delete old marks of one-effect handlers"
                );
            }
        }
        let _ = tokio::time::timeout(LOOK, stop.cancelled()).await;
    }
}

/// Makes deliveries of the deferred events that are still in the outbox: their handler's process has ended, or they are
/// deliveries already and could not be removed.
async fn collect(effects: &dyn EffectStore, acceptor: &dyn Acceptor) -> anyhow::Result<()> {
    loop {
        let events = effects.outbox(None).await?;
        if events.is_empty() {
            return Ok(());
        }
        for event in &events {
            acceptor.accept(event.clone()).await?;
        }
        effects.remove(&events).await?;
    }
}

/// Deletes the marks of deliveries that cannot come back: they live as long as handled deliveries are kept, and as long as
/// any delivery that was attempted has not ended.
async fn prune(
    effects: &dyn EffectStore,
    config: &Config,
    inbox: &dyn Upkeep,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let kept = config.retention.done.max(config.dedup.window);
    let unended = inbox.oldest_attempted().await?;
    let now = inbox.now().await?;
    let unended = unended.and_then(|oldest| (now - oldest).max(TimeDelta::zero()).to_std().ok());
    let age = kept.max(unended.unwrap_or_default()).saturating_add(MARGIN);
    let mut all = 0;
    while !stop.is_cancelled() {
        let pruned = effects.prune(age).await?;
        if pruned == 0 {
            break;
        }
        all += pruned;
    }
    if all > 0 {
        info!(marks = all, "deleted old marks of one-effect handlers");
    }
    Ok(())
}
