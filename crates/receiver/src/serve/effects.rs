//! Upkeep of the database of one-effect handlers: deferred events that were left behind, and old marks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use contract::effect::{Acceptor, EffectStore};
use inbox::Upkeep;
use settings::Config;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Interval at which deferred events are collected that a process has left behind when it ended.
const COLLECT_INTERVAL: Duration = Duration::from_secs(10);

/// Interval at which old marks are deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

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
        if let Some(Err(error)) = stop.run_until_cancelled(collect(effects, acceptor)).await {
            warn!(
                error = format!("{error:#}"),
                "cannot collect the events that handlers have deferred"
            );
        }
        if pruned.is_none_or(|last| last.elapsed() >= PRUNE_INTERVAL) {
            pruned = Some(Instant::now());
            let pruning = prune(effects, config, inbox);
            if let Some(Err(error)) = stop.run_until_cancelled(pruning).await {
                warn!(
                    error = format!("{error:#}"),
                    "cannot delete old marks of one-effect handlers"
                );
            }
        }
        let _ = tokio::time::timeout(COLLECT_INTERVAL, stop.cancelled()).await;
    }
}

/// Makes deliveries of the deferred events that are still in the outbox: their handler's process has ended, or they are
/// deliveries already and could not be removed.
async fn collect(effects: &dyn EffectStore, acceptor: &dyn Acceptor) -> anyhow::Result<()> {
    loop {
        let mut events = effects.outbox(None).await?;
        if events.is_empty() {
            return Ok(());
        }
        // One that cannot be accepted holds up those of its own cause alone.
        let mut failed = HashMap::new();
        for event in &events {
            if !failed.contains_key(&event.cause)
                && let Err(error) = acceptor.accept(event.clone()).await
            {
                failed.insert(event.cause.clone(), error);
            }
        }
        events.retain(|event| !failed.contains_key(&event.cause));
        effects.remove(&events).await?;
        if let Some(error) = failed.into_values().next() {
            return Err(error);
        }
    }
}

/// Deletes the marks of deliveries that cannot come back: they live as long as handled deliveries are kept, and as long as
/// any older delivery has not ended.
async fn prune(
    effects: &dyn EffectStore,
    config: &Config,
    inbox: &dyn Upkeep,
) -> anyhow::Result<()> {
    let kept = config.retention.done.max(config.dedup.window);
    let unended = inbox.oldest_unended().await?;
    let now = inbox.now().await?;
    let unended = unended.and_then(|oldest| (now - oldest).max(TimeDelta::zero()).to_std().ok());
    let age = kept.max(unended.unwrap_or_default()).saturating_add(MARGIN);
    let mut all = 0;
    while let pruned @ 1.. = effects.prune(age).await? {
        all += pruned;
    }
    if all > 0 {
        info!(marks = all, "deleted old marks of one-effect handlers");
    }
    Ok(())
}
