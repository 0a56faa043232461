//! The faults, and when they come.

use std::time::Duration;

use clap::ValueEnum;
use fastrand::Rng;

use crate::disk::{Disk, Target};
use crate::volume::Volume;

/// A way in which the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Not at all.
    None,
    /// One write of data.
    Write,
    /// One write of data into the write-ahead log.
    Log,
    /// One write of data from the log into the database.
    Checkpoint,
    /// Five writes of data, each at a time of its own.
    Several,
    /// Every write of data, for 300 ms.
    Burst,
    /// One flush.
    Flush,
    /// Every write and flush from a time on, the file system's own among them.
    Dead,
    /// It is filled, and later it has room again.
    Full,
}

/// One step of a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Writes(Target, u64),
    Flushes(u64),
    Fill,
    MakeRoom,
}

/// The length of a burst of failures.
const BURST: Duration = Duration::from_millis(300);

impl Fault {
    /// The steps, with their times from the start of a load of this length.
    pub(crate) fn plan(self, time: Duration, rng: &mut Rng) -> Vec<(Duration, Step)> {
        let mut moment = || time.mul_f64(0.1 + 0.5 * rng.f64());
        match self {
            Fault::None => vec![],
            Fault::Write => vec![(moment(), Step::Writes(Target::Data, 1))],
            Fault::Log => vec![(moment(), Step::Writes(Target::Log, 1))],
            Fault::Checkpoint => vec![(moment(), Step::Writes(Target::Database, 1))],
            Fault::Several => {
                let mut plan: Vec<_> =
                    (0..5).map(|_| (moment(), Step::Writes(Target::Data, 1))).collect();
                plan.sort_by_key(|(at, _)| *at);
                plan
            }
            Fault::Burst => {
                let start = moment();
                let (on, off) =
                    (Step::Writes(Target::Data, u64::MAX), Step::Writes(Target::Data, 0));
                vec![(start, on), (start + BURST, off)]
            }
            Fault::Flush => vec![(moment(), Step::Flushes(1))],
            Fault::Dead => {
                let start = moment();
                let writes = Step::Writes(Target::Anything, u64::MAX);
                vec![(start, writes), (start, Step::Flushes(u64::MAX))]
            }
            Fault::Full => {
                vec![(time.mul_f64(0.1), Step::Fill), (time.mul_f64(0.6), Step::MakeRoom)]
            }
        }
    }

    /// True if writes or flushes fail.
    pub(crate) fn is_of_the_disk(self) -> bool {
        !matches!(self, Fault::None | Fault::Full)
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Step {
    pub(crate) fn take(self, disk: &Disk, volume: &Volume) -> anyhow::Result<()> {
        match self {
            Step::Writes(target, count) => disk.fail_writes(target, count),
            Step::Flushes(count) => disk.fail_flushes(count),
            Step::Fill => volume.fill()?,
            Step::MakeRoom => volume.empty()?,
        }
        Ok(())
    }
}
