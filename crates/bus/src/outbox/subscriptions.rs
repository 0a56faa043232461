//! Storage of subscriptions.

use std::collections::HashSet;

use contract::time::Timestamp;
use rusqlite::{Connection, params};
use store::Result;

use super::{Outbox, millis, timestamp, write};
use crate::health::{Status, SubscriptionHealth};

/// A stored subscription.
#[derive(Debug)]
pub(in super::super) struct SubscriptionRow {
    pub(in super::super) id: i64,
    pub(in super::super) name: String,
    /// The definition as JSON, secrets included; none if it is declared in the settings.
    pub(in super::super) definition: Option<String>,
    pub(in super::super) health: SubscriptionHealth,
}

impl Outbox {
    /// All subscriptions that are not removed.
    pub(in super::super) async fn subscriptions(&self) -> Result<Vec<SubscriptionRow>> {
        self.store.read(subscriptions).await
    }

    /// The subscriptions with a due delivery.
    pub(in super::super) async fn with_due(&self) -> Result<HashSet<i64>> {
        self.store
            .read(|db| {
                db.prepare("SELECT DISTINCT subscription FROM delivery WHERE due_at IS NOT NULL")?
                    .query_map([], |row| row.get(0))?
                    .collect()
            })
            .await
    }

    /// Stores the subscriptions that are declared in the settings; one with the same name that was created through the
    /// API becomes declared.
    pub(in super::super) async fn declare(&self, names: Vec<String>, now: Timestamp) -> Result<()> {
        self.store
            .writer
            .call(move |tx| {
                let mut declare = tx.db.prepare(
                    "INSERT INTO subscription (name, standing, since, made_at) VALUES (?1, 0, ?2, ?2)
                     ON CONFLICT (name) WHERE standing <> 4 DO UPDATE SET definition = NULL",
                )?;
                names.iter().try_for_each(|name| declare.execute(params![name, millis(now)]).map(drop))
            })
            .await
    }

    /// Stores a new subscription; returns its number, or none if the name is taken.
    pub(in super::super) async fn make(
        &self,
        name: String,
        definition: String,
        now: Timestamp,
    ) -> Result<Option<i64>> {
        self.store
            .writer
            .call(move |tx| {
                let made = tx
                    .db
                    .prepare_cached(
                        "INSERT INTO subscription (name, definition, standing, since, made_at)
                         VALUES (?1, ?2, 0, ?3, ?3) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![name, definition, millis(now)])?;
                Ok((made > 0).then(|| tx.db.last_insert_rowid()))
            })
            .await
    }

    /// The definition of a subscription that is not declared in the settings.
    pub(in super::super) async fn definition(&self, id: i64) -> Result<Option<String>> {
        self.store
            .read(move |db| {
                db.prepare_cached("SELECT definition FROM subscription WHERE id = ?1")?
                    .query_row([id], |row| row.get(0))
            })
            .await
    }

    /// Replaces the definition of a subscription.
    pub(in super::super) async fn redefine(&self, id: i64, definition: String) -> Result<()> {
        self.store
            .writer
            .call(move |tx| {
                tx.db
                    .prepare_cached("UPDATE subscription SET definition = ?2 WHERE id = ?1")?
                    .execute(params![id, definition])
                    .map(drop)
            })
            .await
    }

    /// Stores the health of subscriptions. A removed one stays removed: it keeps its name for the logs, and nothing
    /// else; its waiting deliveries are cancelled.
    pub(in super::super) async fn save_health(
        &self,
        ids: Vec<i64>,
        health: SubscriptionHealth,
    ) -> Result<()> {
        self.store
            .writer
            .call(move |tx| ids.iter().try_for_each(|id| save_health(tx.db, *id, &health)))
            .await
    }
}

fn save_health(db: &Connection, id: i64, health: &SubscriptionHealth) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE subscription SET standing = ?2, why = ?3, since = ?4, failures = ?5, failing_since = ?6
         WHERE id = ?1 AND standing <> 4",
    )?
    .execute(params![
        id,
        health.status.number(),
        health.why,
        millis(health.since),
        i64::try_from(health.failures).unwrap_or(i64::MAX),
        health.failing_since.map(millis)
    ])?;
    if health.status == Status::Removed {
        db.execute("UPDATE subscription SET definition = NULL WHERE id = ?1", [id])?;
        write::cancel(db, id, health.since)?;
    }
    Ok(())
}

fn subscriptions(db: &Connection) -> rusqlite::Result<Vec<SubscriptionRow>> {
    db.prepare(
        "SELECT id, name, definition, standing, why, since, failures, failing_since
         FROM subscription WHERE standing <> 4 ORDER BY id",
    )?
    .query_map([], |row| {
        Ok(SubscriptionRow {
            id: row.get(0)?,
            name: row.get(1)?,
            definition: row.get(2)?,
            health: SubscriptionHealth {
                status: Status::from_number(row.get(3)?),
                why: row.get(4)?,
                since: timestamp(row.get(5)?),
                failures: row.get::<_, i64>(6)?.unsigned_abs(),
                failing_since: row.get::<_, Option<i64>>(7)?.map(timestamp),
            },
        })
    })?
    .collect()
}
