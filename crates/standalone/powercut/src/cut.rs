//! Power cuts: what a disk holds afterwards, rebuilt from its journal.

use fastrand::Rng;

use crate::disk::{Entry, Recording};
use crate::image::Image;

/// The part of the disk's cache that had reached the medium when the power went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Remnant {
    /// Nothing.
    Nothing,
    /// Whole writes, each with this probability.
    Writes(f64),
    /// Sectors of this many bytes, each with this probability.
    Sectors(usize, f64),
    /// Everything.
    All,
}

impl Remnant {
    pub(crate) fn random(sector: usize, rng: &mut Rng) -> Self {
        let share = 0.1 + 0.8 * rng.f64();
        match rng.u8(..8) {
            0..3 => Remnant::Nothing,
            3..5 => Remnant::Writes(share),
            5..7 => Remnant::Sectors(sector, share),
            _ => Remnant::All,
        }
    }

    fn leave(self, image: &mut Image, offset: u64, data: &[u8], rng: &mut Rng) {
        match self {
            Remnant::Nothing => {}
            Remnant::All => image.write(offset, data),
            Remnant::Writes(share) => {
                if rng.f64() < share {
                    image.write(offset, data);
                }
            }
            Remnant::Sectors(size, share) => {
                for (sector, at) in data.chunks(size).zip((offset..).step_by(size)) {
                    if rng.f64() < share {
                        image.write(at, sector);
                    }
                }
            }
        }
    }
}

/// Rebuilds disks at growing positions of a journal.
pub(crate) struct Cutter {
    entries: Vec<Entry>,
    /// The medium with all entries before `flushed`.
    medium: Image,
    flushed: usize,
    position: usize,
}

impl Cutter {
    pub(crate) fn new(Recording { base, entries }: Recording) -> Self {
        Cutter { entries, medium: base, flushed: 0, position: 0 }
    }

    /// The disk after a cut when the journal was `position` long.
    pub(crate) fn cut(&mut self, position: usize, remnant: Remnant, rng: &mut Rng) -> Image {
        let position = position.min(self.entries.len());
        for at in self.position..position {
            if let Entry::Flush { covers } = self.entries[at] {
                while self.flushed < covers {
                    if let Entry::Write { offset, data } = &self.entries[self.flushed] {
                        self.medium.write(*offset, data);
                    }
                    self.flushed += 1;
                }
            }
        }
        self.position = self.position.max(position);
        let mut image = self.medium.clone();
        for entry in self.entries.get(self.flushed..position).unwrap_or_default() {
            if let Entry::Write { offset, data } = entry {
                remnant.leave(&mut image, *offset, data, rng);
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(byte: u8) -> Entry {
        Entry::Write { offset: u64::from(byte) * 512, data: vec![byte; 512].into() }
    }

    #[test]
    fn what_a_flush_covers_is_there_and_what_came_later_only_by_chance() {
        let entries = vec![write(1), write(2), Entry::Flush { covers: 1 }, write(3)];
        let mut cutter = Cutter::new(Recording { base: Image::new(4096), entries });
        let mut rng = Rng::with_seed(1);
        let mut has = |position, remnant| {
            let image = cutter.cut(position, remnant, &mut rng);
            [1, 2, 3].map(|byte| image.read(byte * 512, 1)[0] != 0)
        };
        assert_eq!(has(2, Remnant::Nothing), [false, false, false]);
        assert_eq!(has(2, Remnant::All), [true, true, false]);
        assert_eq!(has(3, Remnant::Nothing), [true, false, false], "2 came during the flush");
        assert_eq!(has(4, Remnant::Sectors(512, 1.0)), [true, true, true]);
        assert_eq!(has(4, Remnant::Writes(0.0)), [true, false, false]);
    }
}
