//! Disks of a test's own: mounts, and how they are filled.

use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

/// The way into mounts of our own, if there is one. Where the suite must be complete, there has to be.
pub(crate) fn private_mounts() -> Option<&'static str> {
    let permitted = |flag: &&str| {
        let tried = std::process::Command::new("unshare").args([flag, "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let way = ["-m", "-rm"].into_iter().find(permitted);
    if way.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount");
        eprintln!("SKIPPED: mounting is not permitted here (unshare -m)");
    }
    way
}

/// Takes all the space there is.
pub(crate) fn fill(filler: &Path) {
    let mut file = fs::File::create(filler).unwrap();
    let mut size = 64 * 1024;
    while size > 0 {
        match file.write(&vec![b'x'; size]) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => size /= 2,
            Err(error) => panic!("{error}"),
        }
    }
}
