//! Charges through a payment API that takes idempotency keys.

use std::sync::{Arc, Mutex};

use axum::http::Request;
use serde::Serialize;
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{Delivery, Id, Json, Money, Outcome};

/// A context with the client of a payment API.
#[derive(Clone, Default)]
struct Context {
    payments: Payments,
}

/// In place of an HTTP client: it records the requests.
#[derive(Clone, Default)]
struct Payments(Arc<Mutex<Vec<Request<String>>>>);

impl Payments {
    async fn send(&self, request: Request<String>) -> anyhow::Result<()> {
        self.0.lock().expect("nothing panics").push(request);
        Ok(())
    }
}

#[derive(Serialize)]
struct Charge<'o> {
    order: &'o Id,
    amount: Option<Money>,
}

async fn charge(cx: Context, order: Delivery<OrderEvent>) -> Outcome {
    let charge = Charge { order: &order.order_id, amount: order.order_total };
    let request = Request::post("https://api.payments.example/charges")
        .header("Idempotency-Key", order.meta.effect_key("charge"))
        .header("Content-Type", "application/json")
        .body(Json::of(&charge)?.get().to_owned())?;
    cx.payments.send(request).await?;
    Ok(())
}

#[tokio::test]
async fn all_attempts_of_a_run_charge_once() {
    let cx = Context::default();
    for (attempt, replay) in [(1, 0), (2, 0), (3, 1)] {
        let mut order = Delivery::<OrderEvent>::example().unwrap();
        (order.meta.attempt, order.meta.replay) = (attempt, replay);
        charge(cx.clone(), order).await.unwrap();
    }
    let sent = cx.payments.0.lock().unwrap();
    let keys: Vec<_> = sent.iter().map(|request| &request.headers()["Idempotency-Key"]).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2], "a person's replay is a new run");
}
