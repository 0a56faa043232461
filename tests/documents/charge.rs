//! A charge through a payment API that takes idempotency keys; `send` stands for an HTTP client.

use axum::http::Request;
use webhook_receiver::vendors::directscale::order::OrderEvent;
use webhook_receiver::{Delivery, Outcome};

use super::Context;

async fn charge(_: Context, order: Delivery<OrderEvent>) -> Outcome {
    let request = Request::post("https://api.payments.example/charges")
        .header("Idempotency-Key", order.meta.effect_key("charge"))
        .body(order.raw().to_vec())?;
    Ok(send(request).await?)
}

async fn send(_: Request<Vec<u8>>) -> anyhow::Result<()> {
    Ok(())
}

#[tokio::test]
async fn a_charge_ends_well() {
    charge(Context::default(), Delivery::example().unwrap()).await.unwrap();
}
