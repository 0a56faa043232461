//! A one-effect handler with data in PostgreSQL.

use anyhow::Context as _;
use webhook_receiver::postgres::{Postgres, Tx};
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{Catalog, Delivery, Once, Outcome};

#[derive(Debug, Clone)]
pub struct Context {
    db: Postgres,
}

impl Context {
    pub async fn connect() -> anyhow::Result<Self> {
        let url = std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?;
        Ok(Context { db: Postgres::open(&url)? })
    }
}

/// What tests give to handlers: a database for tests, in which the tables have been made.
impl Default for Context {
    fn default() -> Self {
        let url = std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL is set");
        Context { db: Postgres::open(&url).expect("it is a URL of PostgreSQL") }
    }
}

impl Once for Context {
    type Db = Postgres;

    fn db(&self) -> &Postgres {
        &self.db
    }
}

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().once(placed)
}

async fn placed(_: Context, tx: &mut Tx<'_>, order: Delivery<OrderEvent>) -> Outcome {
    let insert = "INSERT INTO orders (number, status) VALUES ($1, $2)";
    let insert = tx.prepare_cached(insert).await?;
    tx.execute(&insert, &[&order.order_id.as_str(), &order.order_status]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_written_once() {
        if std::env::var_os("TEST_DATABASE_URL").is_none() {
            return eprintln!("NOT TRIED: TEST_DATABASE_URL is not set");
        }
        let cx = Context::default();
        let client = cx.db.pool().get().await.unwrap();
        let count = async || {
            let count = client.query_one("SELECT count(*) FROM orders", &[]).await;
            count.unwrap().get::<_, i64>(0)
        };
        let before = count().await;
        Delivery::<OrderEvent>::example().unwrap().twice(&cx, placed).await.unwrap();
        assert_eq!(count().await, before + 1);
    }
}
