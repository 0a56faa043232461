//! Copies of an inbox to another store, of any engine: deliveries with their states and attempts, the hook log, the last
//! uses of keys, the rejection log, and the acts of operators. Tallies, which soon are new, and a pause stay behind.
//!
//! Ids stay the same, and rows are copied in the order of their ids, so that a copy that was interrupted goes on where it
//! was: after the newest row that both have.

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use contract::event::DeliveryId;

use super::acts::KEPT_ACTS;
use super::{Act, AttemptEntry, HookEntry, Inbox, InboxUrl, Options, Result, Sqlite, State};

/// Number of rows that are copied at once.
const BATCH: usize = 200;

/// A delivery with all that an engine keeps of it. Times are milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryRecord {
    pub(crate) id: DeliveryId,
    pub(crate) source: String,
    /// Empty if the sender gave none.
    pub(crate) client_id: String,
    pub(crate) message_id: String,
    pub(crate) message_id_derived: bool,
    pub(crate) dialect: String,
    pub(crate) environment: String,
    pub(crate) event_type: String,
    pub(crate) version: i32,
    pub(crate) user: Option<String>,
    pub(crate) event_time: Option<i64>,
    pub(crate) received_at: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) key: Option<String>,
    pub(crate) format: String,
    pub(crate) ordering_key: Option<String>,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    pub(crate) state: State,
    pub(crate) due_at: Option<i64>,
    pub(crate) attempts: u32,
    pub(crate) run_attempts: u32,
    pub(crate) replays: u32,
    pub(crate) lost: u32,
    pub(crate) started_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) last_error: Option<String>,
    pub(crate) conflicts: u32,
    pub(crate) recognised: u32,
    pub(crate) attempt_log: Vec<AttemptEntry>,
}

/// What a store offers to be copied from and to.
#[async_trait]
pub(crate) trait Copyable: Inbox {
    /// Prepares to be copied from.
    ///
    /// # Errors
    /// If it is in use.
    async fn prepare_source(&self) -> anyhow::Result<()>;

    /// Prepares to be copied to: ids up to these will be taken. From now on no receiver or worker starts on it.
    ///
    /// # Errors
    /// If it is in use.
    async fn prepare_target(&self, delivery: DeliveryId, hook_call: i64) -> anyhow::Result<()>;

    /// Ends the copy, so that receivers and workers may start.
    async fn complete_target(&self) -> anyhow::Result<()>;

    /// Ids of the newest delivery and the newest hook call; 0 if there are none.
    async fn newest(&self) -> Result<(DeliveryId, i64)>;

    /// Reads the deliveries after an id, in the order of their ids.
    async fn deliveries_after(&self, id: DeliveryId, limit: usize) -> Result<Vec<DeliveryRecord>>;

    /// Adds deliveries with greater ids than any before.
    async fn add_deliveries(&self, records: Vec<DeliveryRecord>) -> anyhow::Result<()>;

    /// Reads the hook calls after an id, in the order of their ids, with their bodies.
    async fn hook_calls_after(&self, id: i64, limit: usize) -> Result<Vec<HookEntry>>;

    /// Adds hook calls with greater ids than any before.
    async fn add_hook_calls(&self, calls: Vec<HookEntry>) -> anyhow::Result<()>;

    /// Adds acts under their numbers; those that it has already are left alone.
    async fn add_acts(&self, acts: Vec<Act>) -> anyhow::Result<()>;

    /// Counts deliveries by state, their attempts, and hook calls.
    async fn census(&self) -> Result<Census>;
}

/// Numbers of rows of an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Deliveries in each state, in the order of [`State::ALL`].
    pub deliveries: [u64; State::ALL.len()],
    /// Ended attempts.
    pub attempts: u64,
    /// Calls in the hook log.
    pub hook_calls: u64,
}

impl Census {
    /// Each number with its name.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let deliveries = State::ALL.map(State::as_str).into_iter().zip(self.deliveries);
        deliveries.chain([("attempts", self.attempts), ("hook calls", self.hook_calls)])
    }

    fn copied_rows(&self) -> u64 {
        self.deliveries.iter().sum::<u64>() + self.hook_calls
    }
}

/// A finished copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Number of deliveries and hook calls that an earlier, interrupted copy had copied.
    pub before: u64,
    /// Number of deliveries and hook calls that this one has copied.
    pub rows: u64,
    /// Numbers of rows of the source.
    pub from: Census,
    /// Numbers of rows of the target, the same unless one of the two was in use.
    pub to: Census,
}

/// Copies an inbox that no receiver or worker uses to one that is new, or that an earlier copy has begun. `progress` is told
/// the number of rows copied so far, and of all.
///
/// # Errors
/// If one of the two cannot be opened, is in use, or fails; or if the target has other deliveries. What was copied stays, and
/// the next copy goes on after it.
pub async fn copy(
    from: &InboxUrl,
    to: &InboxUrl,
    mut progress: impl FnMut(u64, u64),
) -> anyhow::Result<Copied> {
    ensure!(from != to, "--from and --to name the same inbox");
    if let Some(file) = from.file() {
        ensure!(file.exists(), "there is no inbox at {from}");
    }
    let source = open(from).await.with_context(|| format!("cannot copy from {from}"))?;
    source.prepare_source().await.with_context(|| format!("cannot copy from {from}"))?;
    let target = open(to).await.with_context(|| format!("cannot copy to {to}"))?;
    let as_owner = || format!("cannot copy to {to}; of a database, the schema's owner can");
    let census = source.census().await?;
    let total = census.copied_rows();
    let (mut delivery, mut call) = common(&*source, &*target, to).await?;
    let before = target.census().await?.copied_rows();
    let (last_delivery, last_call) = source.newest().await?;
    target.prepare_target(last_delivery, last_call).await.with_context(as_owner)?;
    let mut rows = before;
    progress(rows, total);
    loop {
        let records = source.deliveries_after(delivery, BATCH).await?;
        let Some(last) = records.last() else { break };
        delivery = last.id;
        rows += records.len() as u64;
        target.add_deliveries(records).await.with_context(|| interrupted(to))?;
        progress(rows, total);
    }
    loop {
        let calls = source.hook_calls_after(call, BATCH).await?;
        let Some(last) = calls.last() else { break };
        call = last.id;
        rows += calls.len() as u64;
        target.add_hook_calls(calls).await.with_context(|| interrupted(to))?;
        progress(rows, total);
    }
    target.note_keys(source.keys().await?).await?;
    target.note_rejections(source.rejections().await?).await?;
    target.add_acts(source.acts(None, KEPT_ACTS).await?).await?;
    let copied = Copied { before, rows: rows - before, from: census, to: target.census().await? };
    if copied.from == copied.to {
        target.complete_target().await?;
    }
    Ok(copied)
}

/// The reason why nobody else may use an inbox that is being copied to.
pub(crate) const UNFINISHED: &str = "a copy to it is not finished: give `webhook-receiver inbox copy` again as before, or delete it";

fn interrupted(to: &InboxUrl) -> String {
    format!("the copy to {to} is not complete; the same command goes on with it")
}

async fn open(url: &InboxUrl) -> anyhow::Result<Box<dyn Copyable>> {
    let options = Options::copy();
    match url {
        InboxUrl::Sqlite(path) => Ok(Box::new(Sqlite::open(path, options).await?)),
        #[cfg(feature = "postgres")]
        InboxUrl::Postgres(url) => Ok(Box::new(super::Postgres::open(&url.url, options).await?)),
    }
}

/// The newest delivery and hook call of the target, which the source must have too.
async fn common(
    source: &dyn Copyable,
    target: &dyn Copyable,
    to: &InboxUrl,
) -> anyhow::Result<(DeliveryId, i64)> {
    let (delivery, call) = target.newest().await?;
    let mut is_same = true;
    if delivery > 0 {
        let identity = |record: &DeliveryRecord| {
            (record.id, record.source.clone(), record.message_id.clone(), record.digest.clone())
        };
        let theirs = target.deliveries_after(delivery - 1, 1).await?;
        let ours = source.deliveries_after(delivery - 1, 1).await?;
        is_same = theirs.first().map(identity) == ours.first().map(identity);
    }
    if call > 0 {
        let theirs = target.hook_calls_after(call - 1, 1).await?;
        is_same &= theirs == source.hook_calls_after(call - 1, 1).await?;
    }
    if !is_same {
        bail!(
            "the inbox at {to} has rows of its own: a copy needs a new inbox, or one that an earlier copy has begun"
        );
    }
    Ok((delivery, call))
}
