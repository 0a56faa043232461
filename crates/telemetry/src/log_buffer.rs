//! Log buffer: log lines are collected, then written to standard error in batches by a separate thread.
//!
//! A line costs its request only a copy. If standard error blocks, lines are lost and counted, but no request waits, and
//! the end of the process waits no longer than [`FLUSH_TIMEOUT`].

use std::io::{self, Write};
use std::mem::take;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Time for which lines are collected.
const COLLECT: Duration = Duration::from_millis(20);

/// Time limit for writing the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Capacity of the buffer, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// Buffer that log lines are written to. Clones share it.
#[derive(Clone, Default)]
pub(super) struct LogBuffer(Arc<SharedBuffer>);

#[derive(Default)]
struct SharedBuffer {
    collected: Mutex<CollectedLines>,
    changed: Condvar,
}

#[derive(Default)]
struct CollectedLines {
    bytes: Vec<u8>,
    lost: usize,
    closed: bool,
}

/// Guard of the log. Dropping it writes out the last lines, unless standard error blocks.
pub struct LogGuard {
    lines: LogBuffer,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

/// Prints the reason of the program's end on standard error, unless that blocks.
pub fn print_error(text: String) {
    let (running, ended) = channel::<()>();
    std::thread::spawn(move || {
        let _ = writeln!(io::stderr(), "{text}");
        drop(running);
    });
    let _ = ended.recv_timeout(FLUSH_TIMEOUT);
}

impl LogBuffer {
    /// Starts the thread that writes the collected lines to `out`.
    pub(super) fn write_to(self, out: impl Write + Send + 'static) -> io::Result<LogGuard> {
        let lines = self.clone();
        let (running, ended) = channel();
        std::thread::Builder::new().name("log".into()).spawn(move || {
            self.run(out);
            drop(running);
        })?;
        Ok(LogGuard { lines, ended })
    }

    fn run(&self, mut out: impl Write) {
        loop {
            let waiting = |collected: &mut CollectedLines| {
                collected.bytes.is_empty() && collected.lost == 0 && !collected.closed
            };
            let collected = self.0.changed.wait_while(self.lock(), waiting);
            if !collected.unwrap_or_else(PoisonError::into_inner).closed {
                std::thread::sleep(COLLECT);
            }
            let (bytes, lost, closed) = {
                let mut collected = self.lock();
                (take(&mut collected.bytes), take(&mut collected.lost), collected.closed)
            };
            // If the log cannot be written, the error cannot be reported either.
            let _ = out.write_all(&bytes);
            if lost > 0 {
                let _ = writeln!(
                    out,
                    "{{\"level\":\"WARN\",\"message\":\"log lines lost\",\"lost\":{lost}}}"
                );
            }
            let _ = out.flush();
            if closed && bytes.is_empty() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, CollectedLines> {
        self.0.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.lines.lock().closed = true;
        self.lines.0.changed.notify_one();
        // A thread that is still writing ends with the process.
        let _ = self.ended.recv_timeout(FLUSH_TIMEOUT);
    }
}

impl<'l> MakeWriter<'l> for LogBuffer {
    type Writer = &'l LogBuffer;

    fn make_writer(&'l self) -> &'l LogBuffer {
        self
    }
}

impl Write for &LogBuffer {
    /// Buffers a whole line, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut collected = self.lock();
        let first = collected.bytes.is_empty();
        if collected.bytes.len() + line.len() > LIMIT {
            collected.lost += 1;
        } else {
            collected.bytes.extend_from_slice(line);
        }
        drop(collected);
        if first {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writer that blocks until its lock is released.
    struct Stuck(Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_before_the_guard_is_gone() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let lines = LogBuffer::default();
        let guard = lines.clone().write_to(Stuck(Arc::clone(&out))).unwrap();
        (0..1000).for_each(|n| writeln!(&lines, "{n}").unwrap());
        drop(guard);
        let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(out.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn the_end_does_not_wait_for_a_reader_that_takes_nothing() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let lines = LogBuffer::default();
        let held = out.lock().unwrap();
        let guard = lines.clone().write_to(Stuck(Arc::clone(&out))).unwrap();
        (&lines).write_all(b"line\n").unwrap();
        let started = std::time::Instant::now();
        drop(guard);
        assert!(started.elapsed() < FLUSH_TIMEOUT * 5);
        drop(held);
    }

    #[test]
    fn lines_over_the_limit_are_counted_and_nobody_waits() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let lines = LogBuffer::default();
        let held = out.lock().unwrap();
        let guard = lines.clone().write_to(Stuck(Arc::clone(&out))).unwrap();
        let line = [b'x'; 1024];
        // Thrice the limit: one part may be on its way out while the other is collected.
        (0..3 * LIMIT / 1024).for_each(|_| (&lines).write_all(&line).unwrap());
        drop(held);
        drop(guard);
        let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
        assert!(text.len() <= 2 * LIMIT + 200 && text.contains("\"lost\":"), "{}", text.len());
    }
}
