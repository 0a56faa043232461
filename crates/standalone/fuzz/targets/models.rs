//! Every event's and every hook's model, with its ids, amounts and dates, on any bytes.
#![no_main]

use std::sync::Arc;
use std::sync::LazyLock;

use contract::catalog::Table;
use fixture::table;
use webhook_receiver_fuzz::bounded;

static CATALOG: LazyLock<Arc<Table>> = LazyLock::new(table);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for row in CATALOG.events() {
        bounded(data.len(), 128, || {
            if let Err(error) = (row.check)(data) {
                assert!(!error.to_string().is_empty());
            }
        });
    }
    for body in CATALOG.hooks().flat_map(|row| [row.request, row.response]) {
        // A line item is large however short its JSON.
        bounded(data.len(), 4096, || match (body.rewrite)(data) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(written) => {
                let again =
                    (body.rewrite)(written.get().as_bytes()).expect("it has just been written");
                assert_eq!(again.get(), written.get());
            }
        });
    }
});
