//! The way of calls into the inbox: what a caller waits for never waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use inbox::{HookRecord, Inbox, InboxError};
use telemetry::Metrics;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The bytes that records may take which are not written yet.
const ROOM: usize = 16 * 1024 * 1024;

/// The most records, and about the most bytes of them, that share one transaction: deliveries wait behind it.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 512 * 1024;

/// How long after a batch the next one is written, unless more waits than one holds.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is told that records are lost.
const TELL: Duration = Duration::from_secs(60);

/// Takes records of calls. Clones share the queue.
#[derive(Clone)]
pub struct HookLog {
    queue: UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    largest: usize,
    lost: Arc<Lost>,
}

/// Writes what a [`HookLog`] takes.
pub struct HookLogWriter {
    inbox: Arc<dyn Inbox>,
    queue: UnboundedReceiver<Queued>,
    lost: Arc<Lost>,
    told: Option<Instant>,
}

/// A record that is not written yet, and the room that it takes until it is.
struct Queued {
    record: HookRecord,
    room: OwnedSemaphorePermit,
}

/// Counts the records that are lost.
struct Lost {
    untold: AtomicU64,
    metrics: Arc<Metrics>,
}

impl HookLog {
    /// A log of calls in the inbox. What it takes is kept while its other half [runs](HookLogWriter::run).
    pub fn new(inbox: Arc<dyn Inbox>, metrics: Arc<Metrics>) -> (HookLog, HookLogWriter) {
        HookLog::with_room(ROOM, inbox, metrics)
    }

    fn with_room(
        room: usize,
        inbox: Arc<dyn Inbox>,
        metrics: Arc<Metrics>,
    ) -> (HookLog, HookLogWriter) {
        let (sender, receiver) = unbounded_channel();
        let lost = Arc::new(Lost { untold: AtomicU64::new(0), metrics });
        let writer = HookLogWriter { inbox, queue: receiver, lost: Arc::clone(&lost), told: None };
        let room_left = Arc::new(Semaphore::new(room));
        (HookLog { queue: sender, room: room_left, largest: room, lost }, writer)
    }

    /// Keeps the record soon; loses it if too much waits already, or if the log has ended. It never waits.
    pub fn record(&self, record: HookRecord) {
        // A record that is larger than all the room takes all of it.
        let size = u32::try_from(record.size().min(self.largest)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(size);
        let queued = room.is_ok_and(|room| self.queue.send(Queued { record, room }).is_ok());
        if !queued {
            self.lost.add(1);
        }
    }
}

impl HookLogWriter {
    /// Writes until `stop`, and then what is still queued. What is recorded after that is lost, so stop it after the calls.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.queue.recv() => first,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            if !self.write(first).await {
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
        self.tell(None);
    }

    /// Writes a batch; returns whether it was full, so that more may wait.
    async fn write(&mut self, Queued { record, mut room }: Queued) -> bool {
        let mut batch = vec![record];
        let mut full = false;
        while let Ok(next) = self.queue.try_recv() {
            batch.push(next.record);
            room.merge(next.room);
            full = batch.len() >= BATCH || room.num_permits() >= BATCH_BYTES;
            if full {
                break;
            }
        }
        let records = batch.len() as u64;
        let failure = self.inbox.log_hooks(batch).await.err();
        if failure.is_some() {
            self.lost.add(records);
        }
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.tell(failure.as_ref());
        }
        full
    }

    /// Says how many records were lost since it was last said; without a failure they came too fast.
    fn tell(&mut self, failure: Option<&InboxError>) {
        let lost = self.lost.untold.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let error = failure.map(tracing::field::display);
            warn!(lost, error, "hook calls were answered, but their records are lost");
            self.told = Some(Instant::now());
        }
    }
}

impl Lost {
    fn add(&self, records: u64) {
        self.untold.fetch_add(records, Ordering::Relaxed);
        self.metrics.hook_records_lost(records);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use contract::event::Environment;
    use contract::time::Timestamp;
    use inbox::{HookBodies, HookFilter, Options, open};

    use super::*;

    struct Fixture {
        inbox: Arc<dyn Inbox>,
        metrics: Arc<Metrics>,
        folder: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("inbox.db").display());
            let inbox = open(&url, Options { queue: 16, exclusive: true }).unwrap();
            Fixture { inbox, metrics: Arc::default(), folder }
        }

        fn log(&self, room: usize) -> (HookLog, HookLogWriter) {
            HookLog::with_room(room, Arc::clone(&self.inbox), Arc::clone(&self.metrics))
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("inbox.db")
        }

        /// The request ids of what is kept, oldest first.
        async fn kept(&self) -> Vec<String> {
            let mut kept = self.inbox.list_hooks(HookFilter::default()).await.unwrap();
            kept.reverse();
            kept.into_iter().map(|entry| entry.record.request_id).collect()
        }

        fn lost(&self) -> String {
            let text = self.metrics.text();
            let lost =
                text.lines().find_map(|l| l.strip_prefix("webhook_hook_records_lost_total "));
            lost.unwrap().to_owned()
        }
    }

    fn record(id: usize, body: usize) -> HookRecord {
        let bodies = HookBodies { request: vec![b'1'; body].into(), ..HookBodies::default() };
        HookRecord {
            source: "one".into(),
            environment: Environment::Live,
            hook: "Orders.SubmitOrder".into(),
            user: None,
            request_id: id.to_string(),
            received_at: Timestamp::UNIX_EPOCH,
            took: Duration::from_millis(1),
            status: 200,
            outcome: "answered".into(),
            error_id: None,
            error: None,
            callback: None,
            bodies: Some(bodies),
        }
    }

    fn stopped() -> CancellationToken {
        let stop = CancellationToken::new();
        stop.cancel();
        stop
    }

    #[tokio::test]
    async fn what_is_queued_at_a_stop_is_written_in_order() {
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(ROOM);
        let expected: Vec<String> = (0..3 * BATCH).map(|id| id.to_string()).collect();
        (0..3 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        assert_eq!(fixture.kept().await, expected);
        assert_eq!(fixture.lost(), "0");
    }

    #[tokio::test]
    async fn it_is_written_while_the_receiver_runs() {
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(ROOM);
        let stop = CancellationToken::new();
        let running = tokio::spawn(writer.run(stop.clone()));
        for id in 0..3 {
            log.record(record(id, 10));
            while fixture.kept().await.len() <= id {
                tokio::task::yield_now().await;
            }
        }
        stop.cancel();
        running.await.unwrap();
        log.record(record(3, 10));
        assert_eq!((fixture.kept().await.len(), fixture.lost().as_str()), (3, "1"), "it has ended");
    }

    #[tokio::test]
    async fn what_comes_too_fast_is_lost_and_counted() {
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(40_000);
        (0..6).for_each(|id| log.record(record(id, 10_000)));
        writer.run(stopped()).await;
        assert_eq!(fixture.kept().await, ["0", "1", "2"]);
        assert_eq!(fixture.lost(), "3");
    }

    #[tokio::test]
    async fn a_record_larger_than_all_the_room_is_kept_if_it_is_alone() {
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(5_000);
        log.record(record(0, 10_000));
        log.record(record(1, 10));
        writer.run(stopped()).await;
        assert_eq!(fixture.kept().await, ["0"]);
    }

    #[tokio::test]
    async fn a_broken_inbox_loses_records_and_fails_no_call() {
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(ROOM);
        let broken = rusqlite::Connection::open(fixture.file()).unwrap();
        broken.execute_batch("DROP TABLE hook_call").unwrap();
        (0..2 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        assert_eq!(fixture.lost(), (2 * BATCH).to_string());
    }

    #[derive(Clone, Default)]
    struct Said(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Said {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn losses_are_told_together_and_with_their_cause() {
        let said = Said::default();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer({
            let said = said.clone();
            move || said.clone()
        });
        let _telling = tracing::subscriber::set_default(log.finish());
        let fixture = Fixture::new();
        let (log, writer) = fixture.log(ROOM);
        let broken = rusqlite::Connection::open(fixture.file()).unwrap();
        broken.execute_batch("DROP TABLE hook_call").unwrap();
        (0..3 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = said.lines().filter(|line| line.contains("are lost")).collect();
        assert_eq!(lines.len(), 2, "the first loss, and the rest at the end: {said}");
        assert!(lines[0].contains(&format!("lost={BATCH} ")) && lines[0].contains("hook_call"));
        assert!(lines[1].contains(&format!("lost={}", 2 * BATCH)), "{said}");
    }
}
