//! Clients that send without pause, and note where the disk's journal was when they were answered.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fastrand::Rng;

use crate::disk::{Disk, MARK};
use crate::http;
use crate::store::Store;

/// The load of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    /// Messages a second, of all clients.
    pub(crate) rate: u32,
    pub(crate) time: Duration,
    pub(crate) manner: Manner,
}

/// The rhythm of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// One after the other.
    Steadily,
    /// All clients pause together, so that the log is moved whole and begun anew.
    InBursts,
}

/// A message that the program has acknowledged.
pub(crate) struct Acknowledged {
    /// The length of the journal when the answer was there.
    pub(crate) position: usize,
    pub(crate) id: String,
}

/// The answers to a load.
#[derive(Default)]
pub(crate) struct Answers {
    /// In order of their positions.
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
    /// The times of the last acknowledgement and of the last other answer, from the start.
    pub(crate) last_acknowledged: Duration,
    pub(crate) last_refused: Duration,
}

/// A burst and the pause behind it; the log is moved every two seconds.
const BURST: Duration = Duration::from_millis(800);
const PAUSE: Duration = Duration::from_millis(2300);

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause of a client after anything but an acknowledgement, before it sends the same again.
const BACKOFF: Duration = Duration::from_millis(10);

/// The longest body's padding, in bytes.
const LONGEST: usize = 3000;

impl Load {
    /// Sends until the time is over.
    pub(crate) fn run(
        self,
        store: Store,
        address: &str,
        disk: &Disk,
        stop: &AtomicBool,
    ) -> Answers {
        let start = Instant::now();
        let mut all = Answers::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let mut client =
                        Client { load: self, store, address, disk, start, stop, number };
                    scope.spawn(move || client.run())
                })
                .collect();
            for answers in clients.into_iter().filter_map(|client| client.join().ok()) {
                all.acknowledged.extend(answers.acknowledged);
                all.refused += answers.refused;
                all.unanswered += answers.unanswered;
                all.last_acknowledged = all.last_acknowledged.max(answers.last_acknowledged);
                all.last_refused = all.last_refused.max(answers.last_refused);
            }
        });
        all.acknowledged.sort_by_key(|message| message.position);
        all
    }
}

struct Client<'r> {
    load: Load,
    store: Store,
    address: &'r str,
    disk: &'r Disk,
    start: Instant,
    stop: &'r AtomicBool,
    number: u32,
}

impl Client<'_> {
    fn run(&mut self) -> Answers {
        let mut answers = Answers::default();
        let mut rng = Rng::new();
        let mut connection = None;
        let gap = Duration::from_secs(1) * self.load.clients / self.load.rate.max(1);
        let mut next = gap * self.number / self.load.clients;
        let padding = "x".repeat(LONGEST);
        for count in 0_u32.. {
            let id = format!("{MARK}{}-{count}", self.number);
            let request = self.store.request(self.address, &id, &padding[..rng.usize(..LONGEST)]);
            next = self.wait(next) + gap;
            loop {
                if self.stop.load(Ordering::Relaxed) || self.start.elapsed() >= self.load.time {
                    return answers;
                }
                let status = self.exchange(&mut connection, &request);
                let position = self.disk.position();
                match status {
                    Some(200..=299) => {
                        answers.acknowledged.push(Acknowledged { position, id });
                        answers.last_acknowledged = self.start.elapsed();
                        break;
                    }
                    Some(_) => answers.refused += 1,
                    None => answers.unanswered += 1,
                }
                answers.last_refused = self.start.elapsed();
                std::thread::sleep(BACKOFF);
            }
        }
        answers
    }

    /// Waits until this time from the start, and for the next burst if it is in a pause.
    fn wait(&self, until: Duration) -> Duration {
        let mut until = until.max(self.start.elapsed());
        if self.load.manner == Manner::InBursts {
            let round = (BURST + PAUSE).as_secs_f64();
            let inside = until.as_secs_f64() % round;
            if inside > BURST.as_secs_f64() {
                until += Duration::from_secs_f64(round - inside);
            }
        }
        let until = until.min(self.load.time);
        std::thread::sleep(until.saturating_sub(self.start.elapsed()));
        until
    }

    /// The answer's status; nothing if there is none.
    fn exchange(
        &self,
        connection: &mut Option<BufReader<TcpStream>>,
        request: &str,
    ) -> Option<u16> {
        let mut reader = match connection.take() {
            Some(reader) => reader,
            None => {
                let stream = TcpStream::connect(self.address).ok()?;
                stream.set_nodelay(true).ok()?;
                stream.set_read_timeout(Some(PATIENCE)).ok()?;
                BufReader::new(stream)
            }
        };
        reader.get_mut().write_all(request.as_bytes()).ok()?;
        let line = http::read(&mut reader).ok()??;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        *connection = Some(reader);
        Some(status)
    }
}
