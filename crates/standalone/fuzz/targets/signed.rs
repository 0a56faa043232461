//! The parsers of signature headers and of keys in headers: every way to sign, every bearer key.
#![no_main]

use webhook_receiver_fuzz::{bounded, read, receive, request, source};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = request(data) else { return };
    let Some(source) = source(&head.uri) else { return };
    bounded(data.len(), 32, || {
        if let Ok(delivery) = receive(source, head, body) {
            read(&delivery);
        }
    });
});
