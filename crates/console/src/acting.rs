//! Acts on many deliveries: carried out in the background, in small steps, with progress, a rate, and a way to cancel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::event::DeliveryId;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use inbox::{
    ActKind, ActProgress, ActState, Filter, InboxError, NewAct, STEP_ROWS, State, throttled_step,
};
use tracing::{info, warn};

use crate::Console;
use crate::access::Actor;

/// Number of ids that are read at once.
const READ: usize = 10_000;

/// Time between two records of progress while an act waits; longer ones look as if its process had gone.
const BEAT: Duration = Duration::from_secs(2);

/// Pause after a failed step, and the number of failures in a row after which the act has failed.
const PAUSE: Duration = Duration::from_secs(1);
const TRIES: u32 = 30;

/// Subject of an act.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// The deliveries that match the filter.
    Deliveries(Box<Filter>),
    /// Ended deliveries in a state that ended longer ago than the age.
    Ended(State, Duration),
}

/// An act that an operator has confirmed.
pub(crate) struct Order {
    pub(crate) kind: ActKind,
    pub(crate) subject: Subject,
    /// The subject in the words of the record.
    pub(crate) words: String,
    pub(crate) reason: Option<String>,
    /// Number of deliveries that matched in the preview.
    pub(crate) total: u64,
    /// The most deliveries per second; none for as fast as the receiver's own work permits.
    pub(crate) rate: Option<f64>,
}

/// Records an act, and begins it. Returns its number.
pub(crate) async fn begin(
    console: &Arc<Console>,
    actor: &Actor,
    order: Order,
) -> inbox::Result<i64> {
    let record = NewAct {
        kind: order.kind,
        actor: actor.name.clone(),
        subject: order.words.clone(),
        reason: order.reason.clone(),
        total: order.total,
        state: ActState::Running,
    };
    let id = console.parts.inbox.begin_act(record).await?;
    info!(
        act = id,
        kind = order.kind.as_str(),
        user = actor.name,
        subject = order.words,
        total = order.total,
        "an operator has begun an act"
    );
    let console = Arc::clone(console);
    tokio::spawn(async move { Acting { console, id, order, done: 0 }.run().await });
    Ok(id)
}

/// Records an act that is over at once.
pub(crate) async fn note(
    console: &Console,
    actor: &Actor,
    kind: ActKind,
    subject: String,
    reason: Option<String>,
) -> inbox::Result<i64> {
    info!(kind = kind.as_str(), user = actor.name, subject, "an operator has acted");
    let act = NewAct {
        kind,
        actor: actor.name.clone(),
        subject,
        reason,
        total: 1,
        state: ActState::Done,
    };
    console.parts.inbox.begin_act(act).await
}

struct Acting {
    console: Arc<Console>,
    id: i64,
    order: Order,
    done: u64,
}

/// End of an act before all was done.
enum Ended {
    Cancelled,
    /// The receiver stops.
    Stopped,
    Failed(InboxError),
}

impl From<InboxError> for Ended {
    fn from(error: InboxError) -> Self {
        Ended::Failed(error)
    }
}

impl Acting {
    async fn run(mut self) {
        let subject = self.order.subject.clone();
        let ended = match &subject {
            Subject::Deliveries(filter) => self.through(filter).await,
            Subject::Ended(state, age) => self.prune(*state, *age).await,
        };
        let (state, error) = match ended {
            Ok(()) => (ActState::Done, None),
            Err(Ended::Cancelled) => (ActState::Cancelled, None),
            Err(Ended::Stopped) => (
                ActState::Failed,
                Some("the receiver stopped; begin it again for the rest".to_owned()),
            ),
            Err(Ended::Failed(error)) => (ActState::Failed, Some(error.to_string())),
        };
        let (act, done) = (self.id, self.done);
        info!(act, done, state = state.as_str(), error, "an act has ended");
        let progress = ActProgress { done, state, error };
        if let Err(error) = self.console.parts.inbox.update_act(act, progress).await {
            warn!(act, %error, "the end of an act is not recorded");
        }
    }

    /// Goes through the matching deliveries, the oldest first, so that each entity keeps its order.
    async fn through(&mut self, filter: &Filter) -> Result<(), Ended> {
        let mut rest = Filter { limit: Some(READ), ..filter.clone() };
        loop {
            let ids = self.patiently(|this| this.ids(rest.clone()).boxed()).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            rest.after = Some(*last);
            for ids in ids.chunks(self.step_rows()) {
                let filter = Filter { ids: ids.to_vec(), ..filter.clone() };
                let step = self.patiently(|this| this.step(filter.clone()).boxed()).await?;
                self.advance(step).await?;
            }
        }
    }

    async fn ids(&self, filter: Filter) -> inbox::Result<Vec<DeliveryId>> {
        let inbox = &self.console.parts.inbox;
        if self.order.kind != ActKind::Discard {
            return inbox.replayable(filter).await;
        }
        let oldest_first = Filter { order: inbox::Order::OldestFirst, ..filter };
        Ok(inbox.list(oldest_first).await?.iter().map(|entry| entry.id).collect())
    }

    async fn step(&self, filter: Filter) -> inbox::Result<u64> {
        let inbox = &self.console.parts.inbox;
        let reason = self.order.reason.clone().unwrap_or_else(|| format!("act {}", self.id));
        throttled_step(|| match self.order.kind {
            ActKind::Discard => inbox.discard(filter.clone(), reason.clone()),
            ActKind::Resume => inbox.resume(filter.clone()),
            _ => inbox.replay(filter.clone()),
        })
        .await
    }

    async fn prune(&mut self, state: State, age: Duration) -> Result<(), Ended> {
        let begun = Instant::now();
        loop {
            let pruned = self
                .patiently(|this| {
                    let inbox = Arc::clone(&this.console.parts.inbox);
                    // What ends after the act has begun is not meant.
                    let age = age.saturating_add(begun.elapsed());
                    async move { throttled_step(|| inbox.prune(state, age, STEP_ROWS)).await }
                        .boxed()
                })
                .await?;
            if pruned == 0 {
                return Ok(());
            }
            self.advance(pruned).await?;
        }
    }

    /// Tries a call until the inbox answers, for some time.
    async fn patiently<'a, T>(
        &'a self,
        call: impl Fn(&'a Self) -> BoxFuture<'a, inbox::Result<T>>,
    ) -> Result<T, Ended> {
        let mut tries = 0;
        loop {
            if self.console.parts.stop.is_cancelled() {
                return Err(Ended::Stopped);
            }
            match call(self).await {
                Ok(answer) => return Ok(answer),
                Err(error) if tries >= TRIES => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Records progress, and waits as the rate asks for.
    async fn advance(&mut self, step: u64) -> Result<(), Ended> {
        self.done += step;
        self.beat().await?;
        let Some(rate) = self.order.rate else { return Ok(()) };
        let mut left = Duration::try_from_secs_f64(step as f64 / rate).unwrap_or_default();
        while !left.is_zero() {
            let pause = left.min(BEAT);
            if tokio::time::timeout(pause, self.console.parts.stop.cancelled()).await.is_ok() {
                return Err(Ended::Stopped);
            }
            left -= pause;
            self.beat().await?;
        }
        Ok(())
    }

    /// Records progress; ends the act if it was cancelled.
    async fn beat(&self) -> Result<(), Ended> {
        let progress = ActProgress { done: self.done, state: ActState::Running, error: None };
        let record = |this: &'_ Self| {
            let inbox = Arc::clone(&this.console.parts.inbox);
            let (id, progress) = (this.id, progress.clone());
            async move { inbox.update_act(id, progress).await }.boxed()
        };
        match self.patiently(record).await? {
            true => Ok(()),
            false => Err(Ended::Cancelled),
        }
    }

    /// Number of deliveries of a step: no more than those of one second.
    fn step_rows(&self) -> usize {
        let most =
            self.order.rate.map_or(STEP_ROWS as f64, |rate| rate.clamp(1.0, STEP_ROWS as f64));
        most as usize
    }
}
