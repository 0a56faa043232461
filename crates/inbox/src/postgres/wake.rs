//! Wake-ups between processes: one that has made deliveries due, and has no free worker itself, notifies the others.
//!
//! A commit with a notification takes a lock of the whole cluster, so that none is sent with a delivery: a task of its own
//! sends one for all that became due meanwhile. Whoever misses it, such as behind a transaction pooler, looks from time to
//! time anyway.

use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::AsyncMessage;
use tokio_postgres::types::Type;

use super::connect::Database;

/// The shortest time between two notifications of one process.
const INTERVAL: Duration = Duration::from_millis(20);

/// Time until a lost connection is made anew.
const RECONNECT: Duration = Duration::from_secs(1);

/// A notification needs no sync: with the database's crash, everyone connects anew and looks.
const NOTIFY: &str =
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify('webhook_inbox', $1)";

/// Sends notifications to other processes, from a task that ends with this value.
pub(super) struct Notifier(mpsc::Sender<()>);

impl Notifier {
    pub(super) fn start(database: Database, owner: String) -> Self {
        let (sender, mut due) = mpsc::channel(1);
        tokio::spawn(async move {
            while due.recv().await.is_some() {
                // If it fails, the others find by themselves what is due.
                let _ = database.rows(NOTIFY, &[(&owner, Type::TEXT)]).await;
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Notifier(sender)
    }

    /// Notifies the others soon. A notification that is still to be sent covers this one.
    pub(super) fn notify(&self) {
        let _ = self.0.try_send(());
    }
}

/// Calls `wake` whenever another process than `owner` notifies this one, and after each new connection, for as long as it is polled.
pub(super) async fn listen(database: Database, owner: String, wake: impl Fn()) {
    loop {
        if let Ok((client, mut connection)) = database.separate().await {
            let listening = client.batch_execute("LISTEN webhook_inbox");
            let messages = async {
                while let Some(Ok(message)) =
                    poll_fn(|context| connection.poll_message(context)).await
                {
                    if let AsyncMessage::Notification(sent) = message
                        && sent.payload() != owner
                    {
                        wake();
                    }
                }
            };
            // The messages end with the connection.
            tokio::join!(
                async {
                    if listening.await.is_ok() {
                        wake()
                    }
                },
                messages
            );
        }
        tokio::time::sleep(RECONNECT).await;
    }
}
