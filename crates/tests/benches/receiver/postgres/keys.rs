//! Accepts beside many known ids.

use std::time::Duration;

use super::accepted;
use crate::harness::postgres::{Database, Server};
use crate::process::median;

/// Numbers of known ids.
const FEW: u64 = 100_000;
const MANY: u64 = 10_000_000;

pub(super) fn run(server: &'static Server, rounds: usize, length: Duration) -> anyhow::Result<()> {
    println!("{:>12} {:>12} {:>9} {:>9}", "known ids", "accept/s", "p50 ms", "p99 ms");
    let (few, many) = (filled(server, FEW), filled(server, MANY));
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let mut rates = Vec::new();
        for (database, ids) in [(&few, FEW), (&many, MANY)] {
            let seen = accepted(database, length, &["one"])?;
            println!("{ids:>12} {:>12.0} {:>9.2} {:>9.2}", seen.rate, seen.p50, seen.p99);
            rates.push(seen.rate);
        }
        ratios.push(rates[0] / rates[1]);
    }
    println!("cost with {MANY} / with {FEW}, median of {rounds}: {:.2}", median(ratios));
    Ok(())
}

/// A database with so many ids, as they are after a while: three generations are full, the present one is half full. Their
/// deliveries were handled.
fn filled(server: &'static Server, ids: u64) -> Database {
    let database = server.database();
    let started = std::time::Instant::now();
    database.run("INSERT INTO webhook_inbox.source (name) VALUES ('one')");
    // Many statements: one would hold back the cleaning of what it fills.
    for part in 0..10 {
        let (first, last) = (part * ids / 10 + 1, (part + 1) * ids / 10);
        database.run(&format!(
            "INSERT INTO webhook_inbox.delivery (id, source_id, client_id, message_id, message_id_derived, dialect, environment,
                event_type, version, received_at, digest, format, state, headers, body)
             SELECT n, 1, '', n::text, false, 'directscale', 'live', 'OrderEvent', 1, 0, '', 'json', 0, '[]', ''
             FROM generate_series({first}::bigint, {last}) n;
             INSERT INTO webhook_inbox.attempt SELECT n, 1, 0, 0, 0, 2, 'done', NULL FROM generate_series({first}::bigint, {last}) n;
             INSERT INTO webhook_inbox.seen
             SELECT gen_random_uuid(), (1 + (n * 7 / 2) / {ids}) % 4, n FROM generate_series({first}::bigint, {last}) n;"
        ));
    }
    database.run(&format!(
        "SELECT setval('webhook_inbox.delivery_id', {ids}); UPDATE webhook_inbox.source SET position = {ids}"
    ));
    database.run("VACUUM ANALYZE");
    database.run("CHECKPOINT");
    println!("{ids:>12} filled in {:.0?}", started.elapsed());
    database
}
