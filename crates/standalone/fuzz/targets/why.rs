//! The search for what would have matched, which reads the headers and the body of forgeries.
#![no_main]

use std::sync::{Arc, LazyLock};

use source::Source;
use source::diagnose::{RefusedRequest, diagnose};
use webhook_receiver_fuzz::{NOW, config, receive, request, source};

static SOURCES: LazyLock<Vec<Arc<Source>>> = LazyLock::new(|| config().sources().unwrap());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = request(data) else { return };
    let Some(source) = source(&head.uri) else { return };
    let (method, headers, uri) = (head.method.clone(), head.headers.clone(), head.uri.clone());
    if let Err(rejected) = receive(source, head, body.clone()) {
        let (method, uri, headers) = (&method, &uri, &headers);
        let request = RefusedRequest { method, uri, headers, body: Some(&body), now: NOW };
        for finding in diagnose(source, &SOURCES, &rejected.refusal, request).iter() {
            assert!(!finding.to_string().is_empty());
        }
    }
});
