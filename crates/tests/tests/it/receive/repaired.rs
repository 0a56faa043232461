//! Bodies that say what they mean, but that a strict reader refuses: they are accepted and handled, and kept as they came.

use fixture::Context;
use inbox::State;

use crate::harness::client::Request;
use crate::harness::receiver::Receiver;
use crate::receive::dialects::open_sources;

/// Sends each body, and shows that a handler took it and that its bytes are as they were.
async fn handled(requests: &[(&str, &str)]) {
    let settings = open_sources();
    let receiver = Receiver::start(&settings, fixture::catalog(), Context::default()).await;
    for (path, body) in requests {
        assert!(receiver.send(&Request::post(path, body)).await.kept().1, "{body}");
    }
    let deliveries = receiver.finish().await.deliveries().await;
    for (delivery, (_, body)) in deliveries.iter().zip(requests) {
        assert_eq!(delivery.entry.state, State::Done, "{body}: {:?}", delivery.entry);
        assert_eq!(delivery.body, body.as_bytes());
    }
}

#[tokio::test]
async fn dates_in_every_common_form_and_blank_ones_are_handled() {
    let dates = [
        "2022-03-04",
        "2022-03-04 00:00:00",
        "2022-03-04T00:00:00+0000",
        "2022-03-04T00:00",
        "",
        " ",
    ];
    let bodies = dates.map(|date| {
        format!(r#"{{"OrderId":"1","OrderDateUtc":"{date}","EventDateUtc":"{date}"}}"#)
    });
    let requests: Vec<_> =
        bodies.iter().map(|body| ("/in/directscale/OrderEvent", body.as_str())).collect();
    handled(&requests).await;
}

#[tokio::test]
async fn blank_values_and_halves_of_pairs_and_a_byte_order_mark_are_handled() {
    handled(&[
        ("/in/directscale/OrderEvent", r#"{"OrderId":"1","OrderTotal":""}"#),
        ("/in/directscale/OrderEvent", r#"{"OrderId":"\ud83d","OrderStatus":"\udc00 x"}"#),
        ("/in/directscale/OrderEvent", r#"{"OrderId":"1","\ud83d":1}"#),
        ("/in/directscale", "\u{feff}{\"OrderId\":\"2\",\"EventType\":\"OrderEvent\"}"),
        ("/in/directscale", r#"{"OrderId":"2","EventType":"OrderEvent","\udead":"\ud800"}"#),
        (
            "/in/directscale/UpdateAssociateEvent",
            r#"{"AssociateId":7,"WebAliases":"","FirstName":"\ud800"}"#,
        ),
        ("/in/evolutionx", r#"{"event_type":"order.created","\ud800":{"a":"\ud800"}}"#),
    ])
    .await;
}

#[tokio::test]
async fn ids_that_differ_in_half_a_pair_are_two() {
    let receiver = Receiver::start(&open_sources(), fixture::catalog(), Context::default()).await;
    for id in [r"\ud800", r"\ud801", r"\udc00"] {
        let request = Request::post("/in/stripe", format!(r#"{{"id":"{id}"}}"#));
        assert!(receiver.send(&request).await.kept().1, "{id}");
    }
    receiver.stop().await;
}

#[tokio::test]
async fn what_is_beyond_repair_is_refused_in_exact_words() {
    let receiver = Receiver::start(&open_sources(), fixture::catalog(), Context::default()).await;
    let said = async |body: &[u8]| {
        let answer = receiver.send(&Request::post("/in/directscale/OrderEvent", body)).await;
        answer.problem(400, "bad-request").unwrap()
    };
    assert!(said(b"\xff\xfe{\0}\0").await.contains("UTF-16"));
    assert!(said(b"{\"a\":\"\xe9\"}").await.contains("not UTF-8"));
    assert!(said(b"").await.contains("empty"));
    receiver.stop().await;
}
