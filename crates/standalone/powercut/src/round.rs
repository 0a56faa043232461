//! One round: load on a failing disk, its end, and what is left of that which was acknowledged.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cut::{Cutter, Remnant};
use crate::device::Device;
use crate::disk::{Disk, Recording};
use crate::fault::Fault;
use crate::http;
use crate::image::Image;
use crate::load::{Acknowledged, Answers, Load};
use crate::store::{Program, Store};
use crate::volume::{Kind, Volume};

/// The end of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum End {
    /// The power is cut, at many moments.
    Cut,
    /// The program is killed, and what of its files was clean is dropped from memory; then it starts again.
    Kill,
}

/// One round.
pub(crate) struct Round<'r> {
    pub(crate) kind: Kind,
    pub(crate) store: Store,
    pub(crate) fault: Fault,
    pub(crate) end: End,
    pub(crate) cuts: usize,
    pub(crate) seed: u64,
    pub(crate) load: Load,
    pub(crate) flush_time: Duration,
    pub(crate) binary: &'r Path,
    /// The file to which the program's log is added.
    pub(crate) log: Option<&'r Path>,
    /// The folder for disks on which something is missing.
    pub(crate) keep: Option<&'r Path>,
    /// Set when it is to end at once.
    pub(crate) stop: &'r AtomicBool,
}

/// The state of the store after one end.
#[derive(Debug, Clone)]
enum Left {
    /// The messages that are missing.
    Read { missing: usize, first: Option<String> },
    /// The database cannot be read, or is damaged.
    Damaged(String),
    /// The file system cannot be mounted: not the program's fault, and nothing is known.
    Unmountable(String),
}

/// The figures of rounds.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unanswered: usize,
    /// Rounds at whose end messages were acknowledged, whatever had failed before.
    pub(crate) served_at_the_end: usize,
    /// Rounds in which the program ended by itself.
    pub(crate) died: usize,
    pub(crate) writes_failed: u64,
    pub(crate) flushes_failed: u64,
    pub(crate) ends: usize,
    pub(crate) with_loss: usize,
    pub(crate) damaged: usize,
    pub(crate) unmountable: usize,
    /// The most that were missing at one end, of how many.
    pub(crate) worst: (usize, usize),
    pub(crate) time: Duration,
    pub(crate) cutting: Duration,
}

/// The number of bad ends of a report that are told one by one.
const EXAMPLES: usize = 3;

impl Round<'_> {
    pub(crate) fn run(&self, report: &mut Report) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut rng = Rng::with_seed(self.seed);
        let ground = Ground::new(self.kind)?;
        let disk = &ground.disk;
        disk.record(self.flush_time);
        let volume = ground.mount(self.kind)?;
        let settings = ground.folder.path().join("receiver.toml");
        let target = http::target()?;
        let start = || {
            Program::start(self.binary, self.store, volume.folder(), &settings, &target, self.log)
        };
        let mut program = start()?;
        let answers = self.load(&program, disk, &volume, &mut rng)?;
        if let Some(status) = program.end() {
            report.died += 1;
            eprintln!("  seed {}: the program has ended by itself: {status}", self.seed);
        }
        let (writes, flushes) = disk.failed();
        report.acknowledged += answers.acknowledged.len();
        report.refused += answers.refused;
        report.unanswered += answers.unanswered;
        report.writes_failed += writes;
        report.flushes_failed += flushes;
        report.served_at_the_end += usize::from(answers.last_acknowledged > answers.last_refused);

        match self.end {
            End::Kill => {
                drop(program);
                self.store.evict(volume.folder());
                drop(start()?);
                let left = self.read(volume.folder(), &answers.acknowledged);
                self.count(report, left, answers.acknowledged.len(), "killed");
            }
            End::Cut => {
                let recording = disk.recorded().context("nothing was recorded")?;
                drop((program, volume));
                let cutting = Instant::now();
                self.cut(report, recording, &answers.acknowledged, ground.folder.path(), &mut rng)?;
                report.cutting += cutting.elapsed();
            }
        }
        report.time += started.elapsed();
        Ok(())
    }

    /// Sends the load, and lets the disk fail meanwhile.
    fn load(
        &self,
        program: &Program,
        disk: &Disk,
        volume: &Volume,
        rng: &mut Rng,
    ) -> anyhow::Result<Answers> {
        let steps = self.fault.plan(self.load.time, rng);
        let evicts = self.end == End::Kill || rng.bool();
        let start = Instant::now();
        let answers = std::thread::scope(|scope| {
            let load = scope.spawn(|| self.load.run(self.store, &program.address, disk, self.stop));
            let mut steps = steps.iter();
            let mut next = steps.next();
            while !load.is_finished() {
                if let Some((at, step)) = next
                    && start.elapsed() >= *at
                {
                    step.take(disk, volume)?;
                    next = steps.next();
                    continue;
                }
                if evicts {
                    self.store.evict(volume.folder());
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            load.join().map_err(|_| anyhow::anyhow!("the load has panicked"))
        })?;
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
        ensure!(!answers.acknowledged.is_empty(), "nothing was acknowledged");
        Ok(answers)
    }

    fn cut(
        &self,
        report: &mut Report,
        recording: Recording,
        acknowledged: &[Acknowledged],
        folder: &Path,
        rng: &mut Rng,
    ) -> anyhow::Result<()> {
        let end = recording.entries.len();
        let mut positions: Vec<_> =
            (0..self.cuts).map(|_| position(acknowledged, end, rng)).collect();
        positions.sort_unstable();
        let mut cutter = Cutter::new(recording);
        let (file, folder) = (folder.join("cut.img"), folder.join("cut"));
        for position in positions {
            ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
            let remnant = Remnant::random(self.kind.sector(), rng);
            let image = cutter.cut(position, remnant, rng);
            // Another file for each disk: one that is still attached would be mounted with what is cached of it.
            let _ = std::fs::remove_file(&file);
            image.save(&file)?;
            let due = acknowledged.partition_point(|message| message.position <= position);
            let left = match Volume::mount(self.kind, &file, &folder) {
                Ok(volume) => self.read(volume.folder(), &acknowledged[..due]),
                Err(error) => Left::Unmountable(format!("{error:#}")),
            };
            let cut = format!("cut at {position} of {end}, {remnant:?}");
            if self.count(report, left, due, &cut)
                && let Some(folder) = self.keep
            {
                image.save(&folder.join(format!("{}-{position}.img", self.seed)))?;
            }
        }
        Ok(())
    }

    fn read(&self, volume: &Path, due: &[Acknowledged]) -> Left {
        match self.store.messages(&self.store.file(volume)) {
            Ok(there) => compare(due, &there),
            Err(error) => Left::Damaged(format!("{error:#}")),
        }
    }

    /// Returns true if it was bad.
    fn count(&self, report: &mut Report, left: Left, due: usize, end: &str) -> bool {
        let told = report.with_loss + report.damaged + report.unmountable;
        report.ends += 1;
        let said = match left {
            Left::Read { missing: 0, .. } => return false,
            Left::Read { missing, first } => {
                report.with_loss += 1;
                report.worst = report.worst.max((missing, due));
                format!("{missing} of {due} are missing, first {}", first.unwrap_or_default())
            }
            Left::Damaged(error) => {
                report.damaged += 1;
                error
            }
            Left::Unmountable(error) => {
                report.unmountable += 1;
                error
            }
        };
        if told < EXAMPLES {
            eprintln!("  seed {}: {end}: {said}", self.seed);
        }
        true
    }
}

/// Makes a file system on a disk and mounts it.
///
/// # Errors
/// If one of it cannot be had on this machine.
pub(crate) fn probe(kind: Kind) -> anyhow::Result<()> {
    Ground::new(kind)?.mount(kind).map(drop)
}

/// The ground of a round: a folder with the disk and what is mounted of it.
struct Ground {
    disk: Arc<Disk>,
    device: Device,
    // Dropped last, when nothing is mounted in it any more.
    folder: TempDir,
}

impl Ground {
    /// With an empty file system on the disk.
    fn new(kind: Kind) -> anyhow::Result<Self> {
        let prefix = format!("{FOLDER}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(place())?;
        let disk = Arc::new(Disk::new(Image::new(kind.size())));
        let device = Device::mount(&folder.path().join("device"), Arc::clone(&disk))?;
        kind.make(&device.file())?;
        Ok(Ground { disk, device, folder })
    }

    fn mount(&self, kind: Kind) -> anyhow::Result<Volume> {
        Volume::mount(kind, &self.device.file(), &self.folder.path().join("live"))
    }
}

/// The folder in which rounds have theirs: in memory where that can be, since every cut writes a whole disk.
pub(crate) fn place() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// Begins the name of every folder in which rounds run; the process's number follows.
pub(crate) const FOLDER: &str = "powercut-";

/// A moment for a cut: most often just after an acknowledgement, at times after one of the first.
fn position(acknowledged: &[Acknowledged], end: usize, rng: &mut Rng) -> usize {
    let first = acknowledged.first().map_or(0, |message| message.position);
    match rng.u8(..10) {
        0 => rng.choice(acknowledged.iter().take(30)),
        1..7 => rng.choice(acknowledged),
        _ => None,
    }
    .map_or_else(|| rng.usize(first..=end.max(first)), |message| message.position)
}

fn compare(due: &[Acknowledged], there: &HashSet<String>) -> Left {
    let mut missing = due.iter().filter(|message| !there.contains(&message.id));
    let first = missing.next().map(|message| message.id.clone());
    Left::Read { missing: usize::from(first.is_some()) + missing.count(), first }
}

impl Report {
    /// True if everything that was acknowledged was there after every end, and the program had not ended before.
    pub(crate) fn is_good(&self) -> bool {
        self.with_loss == 0 && self.damaged == 0 && self.died == 0 && self.ends > self.unmountable
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "servedAtTheEnd": self.served_at_the_end,
            "died": self.died,
            "writesFailed": self.writes_failed,
            "flushesFailed": self.flushes_failed,
            "ends": self.ends,
            "withLoss": self.with_loss,
            "damaged": self.damaged,
            "unmountable": self.unmountable,
            "worstMissing": self.worst.0,
            "worstOf": self.worst.1,
            "seconds": self.time.as_secs_f64(),
            "secondsPerCut": self.cutting.as_secs_f64() / self.ends.max(1) as f64,
        })
    }
}
