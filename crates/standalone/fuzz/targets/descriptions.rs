//! The words in which a sender is described, on any text; and the documents that keys are in.
#![no_main]

use http::{HeaderMap, Method, Uri};
use signature::{HttpMessage, Place, PublicKey, RequestParts, Template};
use source::{Hosts, KeyPlace};
use webhook_receiver_fuzz::bounded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    bounded(data.len(), 64, || {
        let (method, uri) = (Method::POST, Uri::from_static("https://receiver/in?a=1&b=%20"));
        let headers = HeaderMap::from_iter([(http::header::HOST, "receiver".parse().unwrap())]);
        let head = HttpMessage { method: &method, uri: &uri, headers: &headers, public_url: None };
        let parts = RequestParts::new(head, body.as_bytes());
        if let Ok(place) = Place::parse(first) {
            place.value(&parts);
        }
        if let Ok(template) = Template::parse(first) {
            assert_eq!(Template::parse(&template.to_string()), Ok(template.clone()), "{first}");
            template.text(&parts);
            template.spread(body);
        }
        let _ = (KeyPlace::parse(first), PublicKey::read(text));
        if let Ok(hosts) = Hosts::new(&[first.to_owned()]) {
            hosts.check(body);
        }
        if let Ok(fields) = text::form::json(data) {
            assert!(serde_json::from_str::<serde_json::Value>(&fields).is_ok(), "{fields}");
        }
        let _ = text::form::sorted(data);
    });
});
