//! The disk as a file, so that the kernel can make a block device of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fuser::{
    BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::Disk;
use crate::volume::command;

/// Requests that the kernel may have open: a flush must not hold up writes.
const THREADS: usize = 4;

/// A mounted folder with the disk in it. Dropping it unmounts it.
pub(crate) struct Device {
    folder: PathBuf,
    _session: BackgroundSession,
}

impl Device {
    /// Serves the disk in this folder, which is made.
    ///
    /// # Errors
    /// If FUSE cannot be had.
    pub(crate) fn mount(folder: &Path, disk: Arc<Disk>) -> anyhow::Result<Self> {
        std::fs::create_dir(folder)?;
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("powercut".to_owned())];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(DiskFile(disk), folder, &config)
            .context("cannot mount a FUSE file system")?;
        Ok(Device { folder: folder.to_owned(), _session: session })
    }

    /// The file that is the disk.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(NAME)
    }
}

impl Drop for Device {
    /// Lazily, since the kernel may hold the file for a moment longer than the block device that was made of it.
    fn drop(&mut self) {
        // If it fails, `clean` finds it.
        let _ = command("umount", |umount| umount.arg("--lazy").arg(&self.folder));
    }
}

const NAME: &str = "disk";

/// The file's number; the folder's is 1.
const FILE: INodeNo = INodeNo(2);

struct DiskFile(Arc<Disk>);

impl DiskFile {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        let size = if is_file { self.0.size() } else { 0 };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for DiskFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&Duration::ZERO, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attributes(ino));
    }

    /// Changes nothing: a disk has one size.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&Duration::ZERO, &self.attributes(ino));
    }

    /// Without a cache before it: what is read after a failed write is what the disk has.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.0.read(offset, usize::try_from(size).unwrap_or(0)));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(0)),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.0.flush() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    /// Closing a file flushes nothing.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    /// The disk knows no discarding.
    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EOPNOTSUPP);
    }
}
