//! CloudEvents 1.0 over HTTP: the cases of the project's own conformance tests, in both modes.

use contract::catalog::Catalog;
use contract::time::Timestamp;
use inbox::Detail;
use serde_json::{Value, json};

use crate::harness::client::Request;
use crate::harness::receiver::Receiver;

const OPEN: &str =
    "[sources.events]\ndialect = \"cloudevents\"\npath = \"/events\"\nauth = \"none\"\n";

const STRUCTURED: &str = "application/cloudevents+json";

fn bare(body: impl AsRef<[u8]>) -> Request {
    Request::post("/events", body).without("Content-Type")
}

fn structured(event: &Value) -> Request {
    bare(event.to_string()).set("Content-Type", STRUCTURED)
}

/// The event in binary mode, its data as they are.
fn binary(attributes: &[(&'static str, &str)], data: &[u8], content_type: Option<&str>) -> Request {
    let request = attributes.iter().fold(bare(data), |own, (name, value)| own.add(name, value));
    content_type.iter().fold(request, |own, media| own.set("Content-Type", media))
}

/// What the receiver keeps of events that it must accept.
async fn kept(requests: &[Request]) -> Vec<Detail> {
    let receiver = Receiver::start(OPEN, Catalog::<()>::new(), ()).await;
    for (number, request) in requests.iter().enumerate() {
        assert!(receiver.send(request).await.kept().1, "number {number}");
    }
    receiver.finish().await.deliveries().await
}

fn attributes(own: &Detail) -> (&str, &str, &str, Option<Timestamp>) {
    let entry = &own.entry;
    let source = entry.client_id.as_deref().unwrap();
    (&entry.message_id, &entry.event_type, source, entry.event_time)
}

#[tokio::test]
async fn the_features_of_the_http_binding_hold() {
    let data = "{\n    \"message\": \"Hello World!\"\n}";
    assert_eq!(data.len(), 33, "as its feature says");
    let head = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext/subcontext"),
    ];
    let whole = json!({
        "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z",
        "id": "1234-1234-1234", "source": "/mycontext/subcontext", "datacontenttype": "application/json",
        "data": {"message": "Hello World!"},
    });
    let time = Timestamp::from_timestamp(1_522_900_584, 0);
    for request in [
        binary(&head, data.as_bytes(), Some("application/json")),
        binary(&head, data.as_bytes(), Some("application/json; charset=utf-8")),
        structured(&whole),
        structured(&whole).set("Content-Type", "application/cloudevents+json; charset=utf-8"),
        structured(&whole).set("Content-Type", "Application/CloudEvents+JSON"),
        // What a structured event says in headers besides does not count.
        structured(&whole).add("ce-id", "other").add("ce-source", "/other"),
    ] {
        let own = kept(&[request]).await.remove(0);
        let expected = ("1234-1234-1234", "com.example.someevent", "/mycontext/subcontext", time);
        assert_eq!(attributes(&own), expected);
    }
}

#[tokio::test]
async fn the_samples_are_kept_in_both_modes_whatever_their_data_are() {
    let source = "//github.com/cloudevents/cloudeventsconformance/yaml/v1.yaml";
    let samples = [
        ("conformance-0001", "text/plain; charset=us-ascii", "Hello, World!\n"),
        ("conformance-0002", "text/plain; charset=utf-8", "Hello, 🌎!\n"),
        ("conformance-0003", "application/json; charset=utf-8", "\"Hello, 🌎!\"\n"),
        ("conformance-0004", "application/json; charset=utf-8", "{\"msg\":\"Hello, 🌎!\"}\n"),
        ("conformance-0005", "application/json; charset=utf-8", "[\"Hello\",\"🌎!\"]\n"),
        ("conformance-0006", "application/xml; charset=utf-8", "<msg>Hello, 🌎!</msg>\n"),
    ];
    for (id, media, data) in samples {
        let head = [
            ("ce-specversion", "1.0"),
            ("ce-type", "io.cloudevents.minimum"),
            ("ce-id", id),
            ("ce-source", source),
        ];
        let own = kept(&[binary(&head, data.as_bytes(), Some(media))]).await.remove(0);
        assert_eq!(attributes(&own), (id, "io.cloudevents.minimum", source, None));
        assert_eq!(*own.body, *data.as_bytes(), "{id}");
        let mut event = json!({
            "specversion": "1.0", "type": "io.cloudevents.minimum", "id": id, "source": source, "datacontenttype": media,
        });
        event["data"] = serde_json::from_str(data).unwrap_or_else(|_| data.into());
        let own = kept(&[structured(&event)]).await.remove(0);
        assert_eq!(attributes(&own), (id, "io.cloudevents.minimum", source, None));
    }
    let extended = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-time", "2018-04-05T03:56:24Z"),
        ("ce-id", "4321-4321-4321"),
        ("ce-source", "/mycontext/subcontext"),
        ("ce-comexampleextension1", "value"),
        ("ce-comexampleextension2", "{%22othervalue%22: 5}"),
    ];
    let own = kept(&[binary(&extended, b"{\"world\":\"hello\"}", Some("application/json"))]).await;
    assert_eq!(own[0].entry.message_id, "4321-4321-4321");
}

fn minimal(more: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "minimal", "type": "io.cloudevents.test", "source": "https://cloudevents.io",
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[tokio::test]
async fn valid_events_of_the_json_format_are_kept() {
    let time = Timestamp::from_timestamp(1_522_949_460, 0);
    let core = json!({
        "datacontenttype": "text/plain", "dataschema": "https://cloudevents.io/dataschema", "subject": "tests",
        "time": "2018-04-05T17:31:00Z",
    });
    let extensions = json!({
        "extinteger": 10, "extboolean": true, "extstring": "text", "exturi": "https://cloudevents.io",
        "exturiref": "//authority/path", "exttimestamp": "2023-03-31T15:12:00Z", "extbinary": "TWE=",
    });
    let null = json!({"datacontenttype": null, "dataschema": null, "subject": null, "time": null});
    for (more, expected) in [
        (json!({}), None),
        (null, None),
        (core, time),
        (json!({"time": "2018-04-05T17:31:00.000000000Z"}), time),
        (json!({"time": "2018-04-05T18:31:00+01:00"}), time),
        (json!({"time": "2018-04-05T16:31:00-01:00"}), time),
        (json!({"source": "#fragment"}), None),
        (json!({"datacontenttype": "text/plain", "data": "Simple text"}), None),
        (json!({"data_base64": "eyAieHl6IjogMTIzIH0="}), None),
        (json!({"data": null}), None),
        (json!({"data": [1.0]}), None),
        (extensions, None),
    ] {
        let own = kept(&[structured(&minimal(more))]).await.remove(0);
        assert_eq!((own.entry.message_id.as_str(), own.entry.event_time), ("minimal", expected));
    }
}

#[tokio::test]
async fn an_event_that_is_ambiguous_or_of_another_version_is_refused() {
    let receiver = Receiver::start(OPEN, Catalog::<()>::new(), ()).await;
    let without = |name: &str| {
        let mut event = minimal(json!({}));
        event.as_object_mut().unwrap().remove(name);
        event
    };
    let mut refused: Vec<Value> = ["specversion", "id", "type", "source"].map(without).into();
    for (name, value) in [
        ("id", json!("")),
        ("type", json!("")),
        ("source", json!("")),
        ("specversion", json!("")),
        ("specversion", json!("0.9")),
        ("specversion", json!("0.3")),
        ("specversion", json!(1.0)),
        ("id", json!(25)),
        ("id", json!({"xyz": "abc"})),
        ("id", json!(null)),
        ("type", json!(true)),
        ("source", json!([1])),
    ] {
        refused.push(minimal(json!({ name: value })));
    }
    refused.push(minimal(json!({"data": "text", "data_base64": "eyAieHl6IjogMTIzIH0="})));
    refused.push(minimal(json!({"data_base64": "no Base64"})));
    refused.push(minimal(json!({"data_base64": 7})));
    for event in refused {
        let said = receiver.send(&structured(&event)).await.problem(400, "bad-request");
        assert!(said.is_some_and(|said| !said.is_empty()), "{event}");
    }
    let head = [("ce-type", "t"), ("ce-id", "1"), ("ce-source", "/s")];
    for version in ["0.3", "9.9", "abc", "1.0.0"] {
        let old = binary(&head, b"{}", Some("application/json")).add("ce-specversion", version);
        let said = receiver.send(&old).await.problem(400, "bad-request").unwrap();
        assert!(said.contains(version) && said.contains("1.0"), "{said}");
    }
    for batch in ["[]", "[{\"specversion\":\"1.0\"}]"] {
        let batch =
            bare(batch).set("Content-Type", "application/cloudevents-batch+json; charset=UTF-8");
        let said = receiver.send(&batch).await.problem(415, "unsupported-media-type").unwrap();
        assert_eq!(said, "batches of CloudEvents are not supported; send each event alone");
    }
    assert!(receiver.stop().await.deliveries().await.is_empty());
}

#[tokio::test]
async fn attribute_values_are_read_in_every_encoding_of_the_binding() {
    for (header, id) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro%20%e2%82%ac", "Euro €"),
        ("a b", "a b"),
        ("100%25", "100%"),
        ("%2525", "%25"),
        ("\"quoted\"", "quoted"),
        ("\"with \\\"marks\\\" and \\\\\"", "with \"marks\" and \\"),
        ("\"%E2%82%AC\"", "€"),
        ("a%2fb", "a/b"),
        ("%", "%"),
        ("%zz", "%zz"),
    ] {
        let head =
            [("ce-specversion", "1.0"), ("ce-type", "t"), ("ce-source", "%2Fs"), ("ce-id", header)];
        let own = kept(&[binary(&head, b"{}", Some("application/json"))]).await.remove(0);
        assert_eq!(attributes(&own), (id, "t", "/s", None), "{header}");
    }
    let receiver = Receiver::start(OPEN, Catalog::<()>::new(), ()).await;
    for header in ["%C0%A0", "%ff"] {
        let head =
            [("ce-specversion", "1.0"), ("ce-type", "t"), ("ce-source", "/s"), ("ce-id", header)];
        let answer = receiver.send(&binary(&head, b"{}", Some("application/json"))).await;
        assert_eq!(answer.status, 400, "{header}");
    }
    receiver.stop().await;
}

#[tokio::test]
async fn data_without_a_type_and_events_without_data_are_kept() {
    let head = |id: &'static str| {
        [("ce-specversion", "1.0"), ("ce-type", "t"), ("ce-source", "/s"), ("ce-id", id)]
    };
    let own = kept(&[
        binary(&head("1"), b"{\"message\": \"Hello World!\"}", None),
        binary(&head("2"), b"", None),
        binary(&head("3"), b"", Some("application/json")),
        binary(&head("4"), b"\x00\xff", Some("application/octet-stream")),
        binary(&head("5"), b"<a/>", Some("application/xml")),
    ])
    .await;
    assert_eq!(own.len(), 5);
    assert_eq!(*own[3].body, *b"\x00\xff");
}
