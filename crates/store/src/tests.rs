//! The writer on real files: failures, panics, removed files.

use std::convert::Infallible;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rusqlite::{ErrorCode, ffi};
use tempfile::TempDir;

use super::*;

const SCHEMA: Schema = Schema {
    noun: "store",
    owner: "test",
    setting: "--store",
    application_id: 7,
    migrations: &["CREATE TABLE row (n INTEGER)"],
};

/// A state that counts what was committed.
#[derive(Default)]
struct Count {
    committed: usize,
}

impl WriterState for Count {
    type Message = Infallible;

    fn on_message(&mut self, message: Infallible) {
        match message {}
    }

    fn after_commit(&mut self, failure: Option<&Error>) -> Option<Work<Self>> {
        self.committed += usize::from(failure.is_none());
        None
    }
}

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        store_file::beside(&self.path(), suffix)
    }

    fn try_open(&self, path: &Path) -> anyhow::Result<Store<Count>> {
        let options = StoreOptions { queue: 16, exclusive: true };
        Store::open(path, &SCHEMA, options, |_| Ok(Count::default()))
    }

    fn open(&self) -> Store<Count> {
        self.try_open(&self.path()).unwrap()
    }
}

fn insert(tx: &mut Tx<'_, Count>) -> rusqlite::Result<usize> {
    tx.db.execute("INSERT INTO row VALUES (1)", [])
}

async fn rows(store: &Store<Count>) -> i64 {
    store.read(|db| db.query_row("SELECT count(*) FROM row", [], |row| row.get(0))).await.unwrap()
}

/// Fails as a disk would: the transaction is rolled back, and the log on disk may differ from the one in memory.
fn fail(_: &mut Tx<'_, Count>) -> rusqlite::Result<usize> {
    let error = ffi::Error { code: ErrorCode::SystemIoFailure, extended_code: 1034 };
    Err(rusqlite::Error::SqliteFailure(error, None))
}

fn frames(home: &Home) -> u64 {
    std::fs::metadata(home.beside("-wal")).unwrap().len() / (4096 + 24)
}

#[tokio::test]
async fn after_a_failed_commit_the_log_begins_anew_before_anything_is_acknowledged() {
    let home = Home::new();
    let store = home.open();
    for _ in 0..5 {
        store.writer.call(insert).await.unwrap();
    }
    assert!(frames(&home) >= 5);
    store.writer.call(fail).await.unwrap_err();
    // A reader that still needs the log keeps it from being emptied: nothing is acknowledged meanwhile.
    let reader = Connection::open(home.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM row").unwrap();
    let refused = store.writer.call(insert).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    assert_eq!(rows(&store).await, 5);
    reader.execute_batch("COMMIT").unwrap();
    store.writer.call(insert).await.unwrap();
    assert_eq!(rows(&store).await, 6);
    assert_eq!(frames(&home), 2, "the proof, and the call's own");
}

#[tokio::test]
async fn the_failure_of_a_calls_own_does_not_touch_the_log() {
    let home = Home::new();
    let store = home.open();
    store.writer.call(insert).await.unwrap();
    let before = frames(&home);
    let own =
        |_: &mut Tx<'_, Count>| -> rusqlite::Result<()> { Err(rusqlite::Error::InvalidQuery) };
    store.writer.call(own).await.unwrap_err();
    store.writer.call(insert).await.unwrap();
    assert!(frames(&home) > before);
}

#[tokio::test]
async fn a_writer_that_panics_fails_its_calls_and_goes_on() {
    let home = Home::new();
    let store = home.open();
    store.writer.call(insert).await.unwrap();
    let panic = |tx: &mut Tx<'_, Count>| -> rusqlite::Result<()> {
        insert(tx)?;
        panic!("as a clock before 1970 would make it")
    };
    store.writer.call(panic).await.unwrap_err();
    store.writer.call(insert).await.unwrap();
    assert_eq!(rows(&store).await, 2);
}

#[tokio::test]
async fn what_goes_to_files_that_were_removed_is_not_acknowledged_until_they_are_back() {
    for suffix in ["", "-wal", "-shm"] {
        let home = Home::new();
        let store = home.open();
        store.writer.call(insert).await.unwrap();
        let (file, away) = (home.beside(suffix), home.0.path().join("away"));
        std::fs::rename(&file, &away).unwrap();
        assert!(!store.is_in_place());
        let refused = store.writer.call(insert).await.unwrap_err().to_string();
        assert!(refused.contains("was removed"), "{refused}");
        std::fs::write(&file, "another").unwrap();
        let refused = store.writer.call(insert).await.unwrap_err().to_string();
        assert!(refused.contains("was replaced"), "{refused}");
        std::fs::rename(&away, &file).unwrap();
        store.writer.call(insert).await.unwrap();
        assert_eq!(rows(&store).await, 2);
    }
}

#[tokio::test]
async fn files_that_go_away_during_a_call_are_seen_before_its_answer() {
    let home = Home::new();
    let store = home.open();
    let file = home.path();
    let refused = store.writer.call(move |tx| {
        insert(tx)?;
        std::fs::remove_file(&file).unwrap();
        Ok(())
    });
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.contains("was removed"), "{refused}");
    let committed = store.writer.call(|tx| Ok(tx.state.committed)).await;
    assert!(committed.is_err(), "the file is still away");
}

#[tokio::test]
async fn one_file_has_one_owner_by_whatever_name() {
    let home = Home::new();
    let store = home.open();
    // A lock file of an older version, or none: the database file itself is locked.
    let _ = std::fs::remove_file(home.beside(".lock"));
    let link = home.0.path().join("link.db");
    symlink(home.path(), &link).unwrap();
    let folder = home.0.path().join("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    let hard = folder.join("store.db");
    std::fs::hard_link(home.path(), &hard).unwrap();
    for path in [&home.path(), &link, &hard] {
        let error = format!("{:#}", home.try_open(path).err().unwrap());
        assert!(error.contains("another test is running"), "{error}");
    }
    drop(store);
    for exclusive in [true, false] {
        let options = StoreOptions { queue: 16, exclusive };
        let opened = Store::open(&hard, &SCHEMA, options, |_| Ok(Count::default()));
        let error = format!("{:#}", opened.err().unwrap());
        assert!(error.contains("second name"), "{error}");
    }
    std::fs::remove_file(hard).unwrap();
    home.open();
}

#[tokio::test]
async fn a_damaged_log_takes_back_nothing_that_has_been_moved() {
    let home = Home::new();
    let store = home.open();
    store.writer.call(insert).await.unwrap();
    let mover = Connection::open(home.path()).unwrap();
    for _ in 0..5 {
        store.writer.call(insert).await.unwrap();
    }
    // A reader keeps the log from restarting, so that checkpointed frames stay in it.
    mover.execute_batch("BEGIN; SELECT * FROM row").unwrap();
    let moved =
        store.read(|db| db.query_row("PRAGMA wal_checkpoint", [], |row| row.get::<_, i64>(2)));
    assert!(moved.await.unwrap() > 0);
    for _ in 0..5 {
        store.writer.call(insert).await.unwrap();
    }
    // As a crash leaves them.
    let crashed = Home::new();
    for suffix in ["", "-wal", "-shm"] {
        std::fs::copy(home.beside(suffix), crashed.beside(suffix)).unwrap();
    }
    let mut log = std::fs::read(crashed.beside("-wal")).unwrap();
    log[32 + 24 + 100] ^= 1;
    std::fs::write(crashed.beside("-wal"), log).unwrap();
    let store = crashed.open();
    assert_eq!(rows(&store).await, 6, "those that had been moved");
    assert!(crashed.beside("-wal-damaged-1").exists());
}

#[tokio::test]
async fn the_log_stays_short_under_load() {
    let home = Home::new();
    let store = home.open();
    let longest = Reserve::of(&home.path()).log;
    store.writer.call(|tx| tx.db.execute("CREATE TABLE big (row BLOB)", [])).await.unwrap();
    let size = 256 * 1024;
    for _ in 0..3 * longest / size as u64 {
        let add = move |tx: &mut Tx<'_, Count>| {
            tx.db.execute("INSERT INTO big VALUES (zeroblob(?1))", [size as i64])
        };
        store.writer.add(size, add).await.unwrap();
    }
    let length = std::fs::metadata(home.beside("-wal")).unwrap().len();
    assert!(length <= longest, "{length} of {longest}");
}
