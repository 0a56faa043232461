//! The parsers of what a delivery says of itself, in headers and in bodies, for every dialect.
#![no_main]

use webhook_receiver_fuzz::{bounded, read, receive, request, source};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = request(data) else { return };
    let Some(source) = source(&head.uri).filter(|source| source.auth.is_none()) else { return };
    bounded(data.len(), 64, || {
        if let Ok(delivery) = receive(source, head, body.clone()) {
            assert_eq!(delivery.body, body, "the body is kept as it came");
            assert!(!delivery.message_id.is_empty());
            read(&delivery);
        }
    });
});
