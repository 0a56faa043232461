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
