//! The file itself: made for nobody else, and locked for its one owner.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Schema;

/// Makes a new file, and its folder, that nobody else may read: it will hold personal data. What SQLite puts beside it is
/// like it.
pub(super) fn make(path: &Path, noun: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make the {noun}'s folder {}", folder.display()))?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot open the {noun} {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes this process the file's one owner, until it ends.
pub(super) fn lock(path: &Path, schema: &Schema) -> anyhow::Result<File> {
    let Schema { noun, owner, setting, .. } = schema;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let file = File::create(&beside)
        .with_context(|| format!("cannot write beside the {noun}: {}", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another {owner} is running on the {noun} {}; stop it, or give this one another with {setting}",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", beside.display()))
        }
    }
}
