//! What is particular to the embedded engine; what all engines promise is in `conformance`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use inbox::{self, AcceptOutcome, Filter, InboxUrl, KeyUse, Options, State, Verdict};
use rusqlite::Connection;

use crate::harness::deliveries::{Store, at, message, route};
use crate::inbox::conformance::claim;

fn path(store: &Store) -> PathBuf {
    store.url().file().unwrap().into()
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_does_not_hold_up_the_others() {
    let store = Store::sqlite();
    let inbox = store.open().await;
    for id in ["from-a-newer-program", "ours"] {
        inbox.accept(message(id).verified(), route()).await.unwrap();
    }
    let db = Connection::open(path(&store)).unwrap();
    db.execute("UPDATE delivery SET dialect = 'esperanto' WHERE id = 1", []).unwrap();
    let claims = claim(&inbox, 10, 1).await;
    let claimed: Vec<_> = claims.iter().map(|claim| &claim.delivery.meta.message_id).collect();
    assert_eq!(claimed, ["ours"]);
    let dead = inbox.list(Filter { state: Some(State::Dead), ..Filter::default() }).await.unwrap();
    assert_eq!(dead[0].message_id, "from-a-newer-program");
    assert!(dead[0].last_error.as_ref().unwrap().contains("esperanto"), "{dead:?}");
}

#[tokio::test]
async fn one_file_has_one_receiver_by_whatever_name() {
    let store = Store::sqlite();
    let _first = store.open().await;
    let link = path(&store).with_file_name("current.db");
    symlink(path(&store), &link).unwrap();
    let again = inbox::open(&InboxUrl::Sqlite(link), Options::receiver(16)).await;
    let error = format!("{:#}", again.err().unwrap());
    assert!(error.contains("another receiver is running"), "{error}");
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept() {
    let store = Store::sqlite();
    let inbox = store.open().await;
    inbox.accept(message("m").verified(), route()).await.unwrap();
    let mode = |file: &Path| file.metadata().unwrap().permissions().mode() & 0o777;
    let file = path(&store);
    for file in [file.clone(), file.with_extension("db-wal"), file.with_extension("db-shm")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

/// What a fresh file of the first version has in it.
const FIRST: &str = include_str!("../../../../inbox/src/sqlite/v1.sql");

/// The tables and indexes, as they were written.
fn tables(db: &Connection) -> Vec<String> {
    let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut query = db.prepare(query).unwrap();
    query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Makes the file what the first version would have written.
fn to_first_version(file: &Path) {
    let db = Connection::open(file).unwrap();
    db.execute_batch(
        "DROP TABLE key_use; DROP TABLE hook_call; DROP TABLE sighting; DROP TABLE span;
         DROP TABLE act; DROP TABLE pause; DROP TABLE tally; DROP INDEX work_replayed;
         DROP INDEX work_rare; DROP INDEX work_recognised; DROP INDEX work_conflicts;
         ALTER TABLE delivery DROP COLUMN format; ALTER TABLE work DROP COLUMN recognised;
         ALTER TABLE work DROP COLUMN token; ALTER TABLE work DROP COLUMN owner;
         ALTER TABLE delivery DROP COLUMN key; ALTER TABLE work DROP COLUMN lost;
         ALTER TABLE attempt DROP COLUMN applied_by; ALTER TABLE attempt DROP COLUMN applied_at; PRAGMA user_version = 1;",
    )
    .unwrap();
    let first = Connection::open_in_memory().unwrap();
    first.execute_batch(FIRST).unwrap();
    assert_eq!(tables(&db), tables(&first), "nothing of later versions is left");
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_and_keeps_its_rows() {
    let store = Store::sqlite();
    let inbox = store.open().await;
    for id in ["handled", "waiting"] {
        inbox.accept(message(id).verified(), route()).await.unwrap();
    }
    let claim = claim(&inbox, 1, 1).await.remove(0);
    assert!(inbox.at(2).finish(claim.lease, Verdict::Done).await.unwrap());
    let before = inbox.list(Filter::default()).await.unwrap();
    let first = inbox.show(1).await.unwrap();
    drop(inbox);
    to_first_version(&path(&store));

    let beside = inbox::open(store.url(), Options::command()).await;
    let error = format!("{:#}", beside.err().unwrap());
    assert!(error.contains("older version") && error.contains("start the receiver"), "{error}");
    let inbox = store.open().await;
    assert_eq!(inbox.list(Filter::default()).await.unwrap(), before);
    assert_eq!(inbox.show(1).await.unwrap(), first);
    for id in ["handled", "waiting"] {
        let again = inbox.accept(message(id).verified(), route()).await.unwrap();
        assert_eq!(again.outcome, AcceptOutcome::Duplicate, "{id}");
    }
    let old = Filter { until: Some(at(1)), ..Filter::default() };
    assert_eq!(inbox.list(old).await.unwrap(), before, "by their times, too");
    let used = vec![KeyUse { source: "one".into(), key: "00000000".into(), last_used: at(3) }];
    inbox.note_keys(used.clone()).await.unwrap();
    assert_eq!(inbox.keys().await.unwrap(), used);
    drop(inbox);
    assert_eq!(store.open().await.list(Filter::default()).await.unwrap(), before, "and stays so");
}
