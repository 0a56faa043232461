//! What is particular to the embedded engine; what all engines promise is in `conformance`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use webhook_receiver::inbox::{self, Filter, Options, State};

use crate::conformance::claim;
use crate::deliveries::{Store, at, message, route};

fn path(store: &Store) -> PathBuf {
    store.url().strip_prefix("sqlite:").unwrap().into()
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_does_not_hold_up_the_others() {
    let store = Store::sqlite();
    let inbox = store.open();
    for id in ["from-a-newer-program", "ours"] {
        inbox.accept(message(id).verified(), route(), at(0)).await.unwrap();
    }
    let db = Connection::open(path(&store)).unwrap();
    db.execute("UPDATE delivery SET dialect = 'esperanto' WHERE id = 1", []).unwrap();
    let claims = claim(&*inbox, 10, 1).await;
    let claimed: Vec<_> = claims.iter().map(|claim| &claim.delivery.meta.message_id).collect();
    assert_eq!(claimed, ["ours"]);
    let dead = inbox.list(Filter { state: Some(State::Dead), ..Filter::default() }).await.unwrap();
    assert_eq!(dead[0].message_id, "from-a-newer-program");
    assert!(dead[0].last_error.as_ref().unwrap().contains("esperanto"), "{dead:?}");
}

#[tokio::test]
async fn one_file_has_one_receiver_by_whatever_name() {
    let store = Store::sqlite();
    let _first = store.open();
    let link = path(&store).with_file_name("current.db");
    symlink(path(&store), &link).unwrap();
    let again =
        inbox::open(&format!("sqlite:{}", link.display()), Options { queue: 16, exclusive: true });
    let error = format!("{:#}", again.err().unwrap());
    assert!(error.contains("another receiver is running"), "{error}");
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept() {
    let store = Store::sqlite();
    let inbox = store.open();
    inbox.accept(message("m").verified(), route(), at(0)).await.unwrap();
    let mode = |file: &Path| file.metadata().unwrap().permissions().mode() & 0o777;
    let file = path(&store);
    for file in [file.clone(), file.with_extension("db-wal"), file.with_extension("db-shm")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}
