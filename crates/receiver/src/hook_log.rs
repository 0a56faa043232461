//! Hook log: records of hook calls, queued and written to the inbox in the background, so that no call waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use inbox::{HookCalls, HookRecord, InboxError};
use telemetry::Metrics;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Capacity of the queue of unwritten records, in bytes.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// Limits of one transaction, in records and about in bytes: deliveries wait for it.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 512 * 1024;

/// Pause between two batches, unless the queue holds more than one.
const PAUSE: Duration = Duration::from_millis(50);

/// Shortest time between two reports of lost records.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Sending half of the hook log. Clones share the queue.
#[derive(Clone)]
pub struct HookLog {
    queue: UnboundedSender<Queued>,
    memory: Arc<Semaphore>,
    capacity: usize,
    lost: Arc<Lost>,
}

/// Writing half of a [`HookLog`].
pub struct HookLogWriter {
    inbox: Arc<dyn HookCalls>,
    queue: UnboundedReceiver<Queued>,
    lost: Arc<Lost>,
    last_report: Option<Instant>,
}

/// Unwritten record, with its permit for the queue's memory.
struct Queued {
    record: HookRecord,
    permit: OwnedSemaphorePermit,
}

/// Counter of lost records.
struct Lost {
    unreported: AtomicU64,
    metrics: Arc<Metrics>,
}

impl HookLog {
    /// Creates a hook log in the inbox. Records are written while the writer [runs](HookLogWriter::run).
    pub fn new(inbox: Arc<dyn HookCalls>, metrics: Arc<Metrics>) -> (HookLog, HookLogWriter) {
        HookLog::with_capacity(QUEUE_BYTES, inbox, metrics)
    }

    fn with_capacity(
        capacity: usize,
        inbox: Arc<dyn HookCalls>,
        metrics: Arc<Metrics>,
    ) -> (HookLog, HookLogWriter) {
        let (sender, receiver) = unbounded_channel();
        let lost = Arc::new(Lost { unreported: AtomicU64::new(0), metrics });
        let writer =
            HookLogWriter { inbox, queue: receiver, lost: Arc::clone(&lost), last_report: None };
        let memory = Arc::new(Semaphore::new(capacity));
        (HookLog { queue: sender, memory, capacity, lost }, writer)
    }

    /// Queues a record; drops it if the queue is full or the writer has ended. Never blocks.
    pub fn record(&self, record: HookRecord) {
        // A record that is larger than the capacity takes all of it.
        let size = u32::try_from(record.size().min(self.capacity)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.memory).try_acquire_many_owned(size);
        let queued = permit.is_ok_and(|permit| self.queue.send(Queued { record, permit }).is_ok());
        if !queued {
            self.lost.add(1);
        }
    }
}

impl HookLogWriter {
    /// Writes until `stop`, and then the rest of the queue. Later records are lost, so stop the writer after the calls.
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
        self.report(None);
    }

    /// Writes a batch. Returns true if it was full, so that more records may be queued.
    async fn write(&mut self, Queued { record, mut permit }: Queued) -> bool {
        let mut batch = vec![record];
        let mut full = false;
        while let Ok(next) = self.queue.try_recv() {
            batch.push(next.record);
            permit.merge(next.permit);
            full = batch.len() >= BATCH || permit.num_permits() >= BATCH_BYTES;
            if full {
                break;
            }
        }
        let records = batch.len() as u64;
        let failure = self.inbox.log_hooks(batch).await.err();
        if failure.is_some() {
            self.lost.add(records);
        }
        if self.last_report.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            self.report(failure.as_ref());
        }
        full
    }

    /// Logs the number of records lost since the last report; without a failure the queue was full.
    fn report(&mut self, failure: Option<&InboxError>) {
        let lost = self.lost.unreported.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let error = failure.map(tracing::field::display);
            warn!(lost, error, "hook calls were answered, but their records are lost");
            self.last_report = Some(Instant::now());
        }
    }
}

impl Lost {
    fn add(&self, records: u64) {
        self.unreported.fetch_add(records, Ordering::Relaxed);
        self.metrics.hook_records_lost(records);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use contract::event::Environment;
    use contract::time::Timestamp;
    use inbox::{HookBodies, HookFilter, Options, Sqlite};

    use super::*;

    struct Fixture {
        inbox: Arc<dyn HookCalls>,
        metrics: Arc<Metrics>,
        folder: tempfile::TempDir,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("inbox.db");
            let inbox = Arc::new(Sqlite::open(&file, Options::receiver(16)).await.unwrap());
            Fixture { inbox, metrics: Arc::default(), folder }
        }

        fn log(&self, capacity: usize) -> (HookLog, HookLogWriter) {
            HookLog::with_capacity(capacity, Arc::clone(&self.inbox), Arc::clone(&self.metrics))
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("inbox.db")
        }

        /// Request ids of the stored records, oldest first.
        async fn stored(&self) -> Vec<String> {
            let mut stored = self.inbox.list_hooks(HookFilter::default()).await.unwrap();
            stored.reverse();
            stored.into_iter().map(|entry| entry.record.request_id).collect()
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
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(QUEUE_BYTES);
        let expected: Vec<String> = (0..3 * BATCH).map(|id| id.to_string()).collect();
        (0..3 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        assert_eq!(fixture.stored().await, expected);
        assert_eq!(fixture.lost(), "0");
    }

    #[tokio::test]
    async fn it_is_written_while_the_receiver_runs() {
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(QUEUE_BYTES);
        let stop = CancellationToken::new();
        let running = tokio::spawn(writer.run(stop.clone()));
        for id in 0..3 {
            log.record(record(id, 10));
            while fixture.stored().await.len() <= id {
                tokio::task::yield_now().await;
            }
        }
        stop.cancel();
        running.await.unwrap();
        log.record(record(3, 10));
        assert_eq!(
            (fixture.stored().await.len(), fixture.lost().as_str()),
            (3, "1"),
            "it has ended"
        );
    }

    #[tokio::test]
    async fn what_comes_too_fast_is_lost_and_counted() {
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(40_000);
        (0..6).for_each(|id| log.record(record(id, 10_000)));
        writer.run(stopped()).await;
        assert_eq!(fixture.stored().await, ["0", "1", "2"]);
        assert_eq!(fixture.lost(), "3");
    }

    #[tokio::test]
    async fn a_record_larger_than_all_the_room_is_kept_if_it_is_alone() {
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(5_000);
        log.record(record(0, 10_000));
        log.record(record(1, 10));
        writer.run(stopped()).await;
        assert_eq!(fixture.stored().await, ["0"]);
    }

    #[tokio::test]
    async fn a_broken_inbox_loses_records_and_fails_no_call() {
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(QUEUE_BYTES);
        let broken = rusqlite::Connection::open(fixture.file()).unwrap();
        broken.execute_batch("DROP TABLE hook_call").unwrap();
        (0..2 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        assert_eq!(fixture.lost(), (2 * BATCH).to_string());
    }

    #[derive(Clone, Default)]
    struct LogOutput(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for LogOutput {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn losses_are_told_together_and_with_their_cause() {
        let output = LogOutput::default();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer({
            let output = output.clone();
            move || output.clone()
        });
        let _logging = tracing::subscriber::set_default(log.finish());
        let fixture = Fixture::new().await;
        let (log, writer) = fixture.log(QUEUE_BYTES);
        let broken = rusqlite::Connection::open(fixture.file()).unwrap();
        broken.execute_batch("DROP TABLE hook_call").unwrap();
        (0..3 * BATCH).for_each(|id| log.record(record(id, 10)));
        writer.run(stopped()).await;
        let output = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = output.lines().filter(|line| line.contains("are lost")).collect();
        assert_eq!(lines.len(), 2, "the first loss, and the rest at the end: {output}");
        assert!(lines[0].contains(&format!("lost={BATCH} ")) && lines[0].contains("hook_call"));
        assert!(lines[1].contains(&format!("lost={}", 2 * BATCH)), "{output}");
    }
}
