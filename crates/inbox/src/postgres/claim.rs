//! Claims: due deliveries are fetched when this process has made some due, and from time to time for those of others.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use contract::event::{BodyFormat, Delivery, DeliveryId, Dialect, Environment};
use text::nul::read;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::state::Progress;
use super::super::stored::Facts;
use super::super::{Claim, Lease, Result, Verdict};
use super::connect::Database;
use super::deliver;
use super::wake::{self, Notifier};
use super::{Parameter, timestamp, whole_millis};

/// Time between two looks for deliveries that another process, or the clock, has made due.
const POLL: Duration = Duration::from_millis(225);

/// Time between two looks for claims that have just expired, and for all that have.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_FOR_ALL: Duration = Duration::from_secs(30);

/// Time between two looks for parts of ids that can be emptied.
const LOOK_FOR_EMPTY_PARTS: Duration = Duration::from_secs(60 * 60);

/// Time between two looks at a delivery that this program cannot read.
const LOOK_AT_UNREADABLE: Duration = Duration::from_secs(60);

/// Times of the last looks.
#[derive(Default)]
struct Looks {
    for_recent: Option<Instant>,
    for_all: Option<Instant>,
    for_empty_parts: Option<Instant>,
}

/// The claims of this process.
pub(super) struct Claims {
    database: Database,
    pub(super) owner: String,
    /// Signals that a delivery may have become due.
    due: Notify,
    /// Number of claims that wait for the signal.
    idle: AtomicUsize,
    /// Notifies other processes.
    notifier: Notifier,
    /// Waits for the notifications of others, from the first claim on.
    listener: OnceLock<AbortHandle>,
    /// Held by the one claim that asks the database.
    asking: Arc<tokio::sync::Mutex<()>>,
    /// The last looks for expired claims: for those of the last seconds, and for all.
    looks: Mutex<Looks>,
    /// First attempts that have not ended, by the token of their claim and the last id of their block.
    open: Mutex<HashMap<i64, BTreeMap<i64, HashSet<DeliveryId>>>>,
}

/// Claims, with the bodies of the first deliveries, unless the dispatch is paused. The locks of a claim are held until its rows have left the server, and
/// more might not leave it if this process stands still.
const CLAIM: &str = "SELECT id, source, client_id, message_id, message_id_derived, dialect, environment, event_type,
    version, username, event_time, received_at, format,
    CASE WHEN sum(octet_length(body)) OVER (ORDER BY due_at, id) <= 65536 THEN body END, entity, attempts, run_attempts,
    replays, lost, was_lost, started_at, block, due_at
    FROM (SELECT paused_at FROM webhook_inbox.control) p
    CROSS JOIN LATERAL webhook_inbox.claim(CASE WHEN paused_at IS NULL THEN $1 ELSE 0 END, $2, $3, $4, $5, $6)";

/// Reads the bodies of the other deliveries.
const BODIES: &str = "SELECT id, body FROM webhook_inbox.delivery WHERE id = ANY ($1)";

impl Claims {
    pub(super) fn new(database: Database, owner: String) -> Self {
        Claims {
            notifier: Notifier::start(database.clone(), owner.clone()),
            database,
            owner,
            due: Notify::new(),
            idle: AtomicUsize::new(0),
            listener: OnceLock::new(),
            asking: Arc::default(),
            looks: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Wakes a claim that waits, here or in another process.
    pub(super) fn wake(&self) {
        self.due.notify_one();
        if self.idle.load(Ordering::Relaxed) == 0 {
            self.notifier.notify();
        }
    }

    /// Listens to other processes.
    fn listen(self: &Arc<Self>) {
        self.listener.get_or_init(|| {
            let claims = Arc::downgrade(self);
            let wake = move || {
                if let Some(claims) = claims.upgrade() {
                    claims.due.notify_one();
                }
            };
            let listening = wake::listen(self.database.clone(), self.owner.clone(), wake);
            tokio::spawn(listening).abort_handle()
        });
    }

    /// Waits until no claim asks the database, and none is being released.
    pub(super) async fn settle(&self) {
        drop(self.asking.lock().await);
    }

    /// Waits for up to `max` due deliveries. They are released if the caller has gone.
    pub(super) async fn claim(
        claims: &Arc<Self>,
        max: usize,
        lease: Duration,
        patience: Duration,
    ) -> Result<Vec<Claim>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let end = Instant::now() + patience.min(Duration::from_secs(24 * 60 * 60));
        loop {
            let found = Arc::clone(claims).fetch_for_caller(max, lease).await?;
            let left = end.saturating_duration_since(Instant::now());
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
            claims.listen();
            let _idle = Idle::new(&claims.idle);
            let _ = tokio::time::timeout(left.min(POLL), claims.due.notified()).await;
        }
    }

    /// Fetches in a task of its own, one at a time: what it has claimed when the caller has gone is released.
    async fn fetch_for_caller(self: Arc<Self>, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        let (reply, answer) = oneshot::channel();
        let mut claimed = Claimed { claims: Arc::clone(&self), answer };
        // The turn is asked for here, so that whoever asks later comes later.
        let mut turn = Box::pin(Arc::clone(&self.asking).lock_owned());
        let first = std::future::poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await;
        tokio::spawn(async move {
            let turn = match first {
                Poll::Ready(turn) => turn,
                Poll::Pending => turn.await,
            };
            if reply.is_closed() {
                return;
            }
            let found = self.fetch(max, lease).await;
            if let Err(Ok(found)) = reply.send(found) {
                self.release(found).await;
            }
            drop(turn);
        });
        (&mut claimed.answer).await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    async fn fetch(&self, max: usize, lease: Duration) -> Result<Vec<Claim>> {
        let token = fastrand::i64(..);
        let now = self.database.given_time();
        let parameters: [Parameter<'_>; 6] = [
            (&i32::try_from(max).unwrap_or(i32::MAX), Type::INT4),
            (&token, Type::INT8),
            (&self.owner, Type::TEXT),
            (&whole_millis(lease), Type::INT8),
            (&self.look_back(now.is_some()), Type::INT8),
            (&now, Type::INT8),
        ];
        let claimed_at = Instant::now().into();
        let rows = self.database.urgent_rows(CLAIM, &parameters).await?;
        let mut found = Vec::with_capacity(rows.len());
        let (mut unreadable, mut bodiless) = (Vec::new(), Vec::new());
        for row in rows {
            if let Some(block) = row.get::<_, Option<i64>>(21) {
                self.opened(row.get(0), token, block);
            }
            let body = row.get::<_, Option<Vec<u8>>>(13);
            if body.is_none() {
                bodiless.push(row.get(0));
            }
            match claim_of(&row, token, body.unwrap_or_default()) {
                Some(claim) => found.push((row.get::<_, i64>(22), Claim { claimed_at, ..claim })),
                None => {
                    let id = row.get::<_, i64>(0);
                    tracing::warn!(
                        delivery.id = id,
                        "this program cannot read the delivery, which a newer one wrote; it looks again in a minute"
                    );
                    unreadable.push(lease_of(&row, token));
                }
            }
        }
        if !unreadable.is_empty() {
            let later = Verdict::Postponed { after: LOOK_AT_UNREADABLE };
            deliver::give_back(&self.database, self, unreadable, later).await;
        }
        found.sort_by_key(|(due_at, claim)| (*due_at, claim.lease.id));
        let found = found.into_iter().map(|(_, claim)| claim).collect();
        self.with_bodies(found, bodiless).await
    }

    /// Adds the bodies that have not come with their claims; if that fails, releases the claims.
    async fn with_bodies(
        &self,
        claims: Vec<Claim>,
        bodiless: Vec<DeliveryId>,
    ) -> Result<Vec<Claim>> {
        if bodiless.is_empty() {
            return Ok(claims);
        }
        let rows = match self.database.rows(BODIES, &[(&bodiless, Type::INT8_ARRAY)]).await {
            Ok(rows) => rows,
            Err(error) => {
                self.release(claims).await;
                return Err(error);
            }
        };
        let mut bodies: HashMap<DeliveryId, Vec<u8>> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let whole = |claim: Claim| match bodies.remove(&claim.lease.id) {
            Some(body) => {
                Claim { delivery: Delivery::new(claim.delivery.meta, body.into()), ..claim }
            }
            None => claim,
        };
        Ok(claims.into_iter().map(whole).collect())
    }

    /// How far to look back for expired claims now, in milliseconds; none if that was done just now. A claim that was
    /// committed late is found by the look for all.
    fn look_back(&self, is_test: bool) -> Option<i64> {
        let mut looks = lock(&self.looks);
        let now = Instant::now();
        let is_due =
            |last: Option<Instant>, interval| last.is_none_or(|last| now - last >= interval);
        if is_test || is_due(looks.for_all, LOOK_FOR_ALL) {
            *looks = Looks { for_recent: Some(now), for_all: Some(now), ..*looks };
            return Some(i64::MAX / 2);
        }
        if is_due(looks.for_recent, LOOK) {
            looks.for_recent = Some(now);
            return Some(whole_millis(5 * LOOK));
        }
        None
    }

    /// True once an hour: looking for parts that can be emptied may read much.
    pub(super) fn is_time_to_empty(&self) -> bool {
        let mut looks = lock(&self.looks);
        let is_time =
            looks.for_empty_parts.is_none_or(|last| last.elapsed() >= LOOK_FOR_EMPTY_PARTS);
        if is_time {
            looks.for_empty_parts = Some(Instant::now());
        }
        is_time
    }

    fn opened(&self, id: DeliveryId, token: i64, block: i64) {
        lock(&self.open).entry(token).or_default().entry(block).or_default().insert(id);
    }

    /// The blocks, by token and last id, of which nothing is left when these attempts have ended.
    pub(super) fn closed_by(&self, leases: &[&Lease]) -> Vec<(i64, i64)> {
        let ended: HashSet<(i64, DeliveryId)> =
            leases.iter().map(|lease| (lease.token, lease.id)).collect();
        let tokens: BTreeSet<i64> = leases.iter().map(|lease| lease.token).collect();
        let open = lock(&self.open);
        let blocks = tokens.into_iter().filter_map(|token| Some((token, open.get(&token)?)));
        blocks
            .flat_map(|(token, blocks)| {
                let has_ended = |id: &DeliveryId| ended.contains(&(token, *id));
                let closed = blocks.iter().filter(move |(_, ids)| ids.iter().all(has_ended));
                closed.map(move |(block, _)| (token, *block)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Forgets attempts that have ended.
    pub(super) fn ended(&self, leases: &[&Lease]) {
        let mut open = lock(&self.open);
        for lease in leases {
            if let Some(blocks) = open.get_mut(&lease.token) {
                blocks.retain(|_, ids| {
                    ids.remove(&lease.id);
                    !ids.is_empty()
                });
                if blocks.is_empty() {
                    open.remove(&lease.token);
                }
            }
        }
    }

    /// Releases claims that nobody works on.
    async fn release(&self, unused: Vec<Claim>) {
        let leases = unused.into_iter().map(|claim| claim.lease).collect();
        deliver::give_back(&self.database, self, leases, Verdict::Released).await;
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

/// A claim that waits.
struct Idle<'c>(&'c AtomicUsize);

impl<'c> Idle<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Idle(count)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reply to a claim in transit. Dropping it releases the claimed deliveries.
struct Claimed {
    claims: Arc<Claims>,
    answer: oneshot::Receiver<Result<Vec<Claim>>>,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(found)) = self.answer.try_recv()
            && !found.is_empty()
        {
            let claims = Arc::clone(&self.claims);
            let turn = Arc::clone(&self.claims.asking).try_lock_owned();
            tokio::spawn(async move {
                claims.release(found).await;
                drop(turn);
            });
        }
    }
}

/// The lease of the claim in a row.
fn lease_of(row: &Row, token: i64) -> Lease {
    Lease {
        id: row.get(0),
        attempt: row.get::<_, i32>(15).unsigned_abs(),
        token,
        started_at: timestamp(row.get(20)),
        entity: row.get(14),
    }
}

/// The claim in a row; none if this program cannot read it, since a newer one wrote it.
fn claim_of(row: &Row, token: i64, body: Vec<u8>) -> Option<Claim> {
    let text = |column| read(row.get::<_, String>(column));
    let count = |column| row.get::<_, i32>(column).unsigned_abs();
    let client_id = text(2);
    let facts = Facts {
        id: row.get(0),
        source: text(1),
        client_id: (!client_id.is_empty()).then_some(client_id),
        message_id: text(3),
        message_id_derived: row.get(4),
        dialect: Dialect::from_name(row.get(5))?,
        environment: Environment::from_name(row.get(6))?,
        event_type: text(7),
        version: u16::try_from(row.get::<_, i32>(8)).ok()?,
        user: row.get::<_, Option<String>>(9).map(read),
        event_time: row.get::<_, Option<i64>>(10).map(timestamp),
        received_at: timestamp(row.get(11)),
        format: BodyFormat::from_name(row.get(12))?,
    };
    let progress = Progress {
        attempts: count(15),
        run_attempts: count(16),
        replays: count(17),
        lost: count(18),
    };
    let claim = facts.claim(body.into(), progress, row.get(19), token, timestamp(row.get(20)));
    Some(Claim { lease: lease_of(row, token), ..claim })
}

/// Ignores poisoning: a panic while the lock is held can at worst leave a claim open until it expires.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
