//! Real file systems on the disks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// A file system under which data must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
        }
    }

    /// The disk that it gets: hardly more than the smallest that its tools accept.
    pub(crate) fn size(self) -> u64 {
        match self {
            Kind::Ext4 => 160 << 20,
            Kind::Xfs => 320 << 20,
            Kind::Btrfs => 256 << 20,
        }
    }

    /// The bytes that a disk must write whole or not at all. btrfs has a checksum over its superblock, which it overwrites.
    pub(crate) fn sector(self) -> usize {
        match self {
            Kind::Ext4 | Kind::Xfs => 512,
            Kind::Btrfs => 4096,
        }
    }

    /// Makes an empty one.
    pub(crate) fn make(self, disk: &Path) -> anyhow::Result<()> {
        let options: &[&str] = match self {
            Kind::Ext4 => &["-q", "-F", "-J", "size=8", "-E", "lazy_itable_init=0"],
            Kind::Xfs => &["-q", "-f", "-K"],
            Kind::Btrfs => &["-q", "-f", "-K", "-m", "single"],
        };
        command(&format!("mkfs.{}", self.name()), |make| make.args(options).arg(disk))
    }
}

/// The least that filling takes at once, in bytes.
const SMALLEST: i64 = 64 << 10;

/// A mounted file system. Dropping it unmounts it.
pub(crate) struct Volume(PathBuf);

impl Volume {
    /// Mounts a disk on a folder, which is made.
    pub(crate) fn mount(kind: Kind, disk: &Path, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let options = match kind {
            // The disk's copies have the same identity.
            Kind::Xfs => "loop,nouuid",
            Kind::Ext4 => "loop",
            Kind::Btrfs => {
                command("btrfs", |forget| forget.args(["device", "scan", "--forget"]))?;
                "loop"
            }
        };
        command("mount", |mount| {
            mount.args(["-t", kind.name(), "-o", options]).arg(disk).arg(folder)
        })?;
        Ok(Volume(folder.to_owned()))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Fills it, up to a few blocks.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let file = File::create(self.filling())?;
        let (mut offset, mut length) = (0, 1 << 30);
        while length >= SMALLEST {
            match fallocate(&file, FallocateFlags::empty(), offset, length) {
                Ok(()) => offset += length,
                Err(Errno::ENOSPC) => length /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filling())?)
    }

    fn filling(&self) -> PathBuf {
        self.0.join("filling")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whatever still uses it loses it at its own end.
        if command("umount", |umount| umount.arg(&self.0)).is_err() {
            let _ = command("umount", |umount| umount.arg("--lazy").arg(&self.0));
        }
    }
}

/// Runs a program, which must end well and soon.
pub(crate) fn command(
    program: &str,
    arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> anyhow::Result<()> {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "60", program]).stdin(Stdio::null());
    let output = arguments(&mut command).output().context("cannot run timeout")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}: {}", output.status, said.trim());
    }
    Ok(())
}
