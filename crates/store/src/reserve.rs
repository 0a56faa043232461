//! Reserved disk space, with which a store on a full disk can still empty its log and delete rows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::store_file::beside;

/// Bounds of the log's usual length, in bytes; between them it is a fraction of the volume.
const SHORTEST_LOG: u64 = 256 * 1024;
const LONGEST_LOG: u64 = 16 * 1024 * 1024;
const PART_OF_VOLUME: u64 = 32;

/// File of the size that emptying the log can need, removed when the disk is full and created again when there is space.
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
    /// Log length at which the log is emptied, in bytes.
    pub(super) log: u64,
}

impl Reserve {
    /// Describes the reserve beside a database file, without creating it.
    pub(super) fn of(database: &Path) -> Self {
        let volume = statvfs(database).map_or(u64::MAX, |volume| volume.f_blocks * volume.f_frsize);
        let log = (volume / PART_OF_VOLUME).clamp(SHORTEST_LOG, LONGEST_LOG);
        Reserve { path: beside(database, "-reserve"), size: log + log / 2, log }
    }

    /// True if the reserve exists. Any process that works on the store may have released it.
    pub(super) fn exists(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| file.len() >= self.size)
    }

    /// Frees the reserved space for the store; returns true if there was any.
    pub(super) fn release(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Creates the reserve if the disk has space for it and for a log; returns true if it exists now.
    pub(super) fn make(&self) -> bool {
        if self.exists() {
            return true;
        }
        let made = self.free() >= self.needed() && self.fill().is_ok();
        if !made {
            self.release();
        }
        made
    }

    /// Free bytes needed to create the reserve.
    pub(super) fn needed(&self) -> u64 {
        self.size + self.log
    }

    /// True if there is space to empty a log of this many bytes.
    pub(super) fn holds(&self, log: u64) -> bool {
        log <= self.size || log <= self.free()
    }

    /// True if new rows fit into unused pages of the database file, and their log into the free space.
    pub(super) fn is_spare(&self, unused: u64, log: u64) -> bool {
        unused >= self.size && self.free() + log >= self.log
    }

    fn free(&self) -> u64 {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        statvfs(folder.unwrap_or(Path::new(".")))
            .map_or(0, |volume| volume.f_bavail * volume.f_frsize)
    }

    fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.size) {
            Err(Errno::OPNOTSUPP) => zeros(file, self.size),
            allocated => Ok(allocated?),
        }
    }
}

fn zeros(mut file: File, size: u64) -> io::Result<()> {
    let zeros = [0; 64 * 1024];
    for _ in 0..size.div_ceil(zeros.len() as u64) {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}
