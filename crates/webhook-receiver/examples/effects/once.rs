//! A one-effect handler with data in SQLite, from the context to the unit test: what a fork copies.

use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;
use webhook_receiver::sqlite::{Sqlite, Tx};
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{Catalog, Delivery, Event, Id, Once, Outcome};

#[derive(Debug, Clone)]
pub struct Context {
    db: Sqlite,
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS orders (number TEXT NOT NULL, status TEXT);
";

impl Context {
    pub async fn connect() -> anyhow::Result<Self> {
        Ok(Context { db: Sqlite::open("data/orders.db")?.with_tables(TABLES)? })
    }
}

impl Once for Context {
    type Db = Sqlite;

    fn db(&self) -> &Sqlite {
        &self.db
    }
}

/// What tests give to handlers: a database in memory.
impl Default for Context {
    fn default() -> Self {
        Context { db: Sqlite::default().with_tables(TABLES).expect("the statements are right") }
    }
}

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new().once(placed).on(invoiced)
}

async fn placed(_: Context, tx: &mut Tx<'_>, order: Delivery<OrderEvent>) -> Outcome {
    tx.execute(
        "INSERT INTO orders (number, status) VALUES (?1, ?2)",
        (order.order_id.as_str(), &order.order_status),
    )?;
    tx.defer(InvoiceEvent { order_number: order.order_id.clone() })?;
    Ok(())
}

/// An order is to be invoiced. This program's own event.
#[derive(Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InvoiceEvent {
    /// The number of the order.
    pub order_number: Id,
}

impl Event for InvoiceEvent {
    const TYPE: &'static str = "InvoiceEvent";
    const ENTITY: Option<&'static str> = Some("OrderNumber");

    fn example() -> &'static str {
        r#"{"OrderNumber":1}"#
    }
}

async fn invoiced(_: Context, invoice: Delivery<InvoiceEvent>) -> Outcome {
    info!(order.number = %invoice.order_number, "order invoiced");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_written_once_and_invoiced() {
        let cx = Context::default();
        let order = Delivery::<OrderEvent>::example().unwrap();
        let run = order.twice(&cx, placed).await.unwrap();
        let orders = "SELECT count(*) FROM orders";
        let orders: i64 = cx.db.lock().await.query_row(orders, [], |row| row.get(0)).unwrap();
        assert_eq!(orders, 1);
        assert_eq!(run.deferred::<InvoiceEvent>().len(), 1);
    }
}
