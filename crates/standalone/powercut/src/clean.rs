//! Leftovers of killed rounds: programs, mounts, folders.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::round::{FOLDER, place};
use crate::volume::command;

/// Ends, unmounts and deletes what belongs to rounds whose process is gone.
pub(crate) fn clean() -> anyhow::Result<()> {
    for folder in std::fs::read_dir(place())? {
        let folder = folder?.path();
        if !is_left(&folder) {
            continue;
        }
        println!("{}", folder.display());
        for process in programs(&folder) {
            // It may have ended meanwhile.
            let _ = command("kill", |kill| kill.args(["-KILL", &process]));
        }
        for mount in mounts(&folder)? {
            command("umount", |umount| umount.arg("--lazy").arg(&mount))?;
        }
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}

/// A round's folder whose process does not run any more.
fn is_left(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let process = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
    process.is_some_and(|process| {
        process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists()
    })
}

/// The processes that run with settings in this folder.
fn programs(folder: &Path) -> Vec<String> {
    let settings = folder.join("receiver.toml");
    let settings = settings.to_string_lossy();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|argument| argument == settings.as_bytes())
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The mounts in this folder, the last first.
fn mounts(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mounts")?;
    let all = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut mounts: Vec<_> = all.filter(|mount| mount.starts_with(folder)).collect();
    mounts.reverse();
    Ok(mounts)
}
