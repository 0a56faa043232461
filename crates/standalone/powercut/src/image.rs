//! A disk's content in memory, whose copies share what they have in common.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 4096;

/// The content of a disk. A copy costs no more than a pointer a block.
#[derive(Clone)]
pub(crate) struct Image {
    size: u64,
    /// `None` is a block of zeros.
    blocks: Vec<Option<Arc<[u8; BLOCK]>>>,
}

impl Image {
    /// A disk of zeros.
    pub(crate) fn new(size: u64) -> Self {
        let blocks = usize::try_from(size).map_or(0, |size| size.div_ceil(BLOCK));
        Image { size, blocks: vec![None; blocks] }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Reads `length` bytes, or those before the end.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; self.within(offset, length)];
        for (block, inner, part) in parts(offset, data.len()) {
            if let Some(block) = &self.blocks[block] {
                data[part.clone()].copy_from_slice(&block[inner..inner + part.len()]);
            }
        }
        data
    }

    /// Writes as much of `data` as fits before the end.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        for (block, inner, part) in parts(offset, self.within(offset, data.len())) {
            let block = self.blocks[block].get_or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[inner..inner + part.len()].copy_from_slice(&data[part]);
        }
    }

    /// Makes a file of it, with holes for blocks of zeros.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (block, offset) in self.blocks.iter().zip((0..).step_by(BLOCK)) {
            if let Some(block) = block {
                file.write_all_at(&block[..], offset)?;
            }
        }
        Ok(())
    }

    fn within(&self, offset: u64, length: usize) -> usize {
        usize::try_from(self.size.saturating_sub(offset)).map_or(length, |room| length.min(room))
    }
}

/// The blocks of a range: each block's number, the first byte in it, and which part of the data is there.
fn parts(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = start + done;
        let inner = at % BLOCK;
        let part = done..length.min(done + BLOCK - inner);
        done = part.end;
        (!part.is_empty()).then_some((at / BLOCK, inner, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_across_blocks_is_read_and_a_copy_keeps_what_was() {
        let mut image = Image::new(10_000);
        let data: Vec<u8> = (0..9000_u32).map(|n| n.to_le_bytes()[0] | 1).collect();
        image.write(500, &data);
        let before = image.clone();
        image.write(4000, &[0; 200]);
        assert_eq!(before.read(500, 9000), data);
        assert_eq!(image.read(4000, 200), [0; 200]);
        assert_eq!(image.read(4200, 100), data[3700..3800]);
        assert_eq!(image.read(9900, 200).len(), 100, "nothing is beyond the end");
    }
}
