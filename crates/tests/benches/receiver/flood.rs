//! What a flood of requests that prove nothing leaves of the rate of genuine deliveries.

use std::time::Duration;

use anyhow::anyhow;

use crate::load::Seen;
use crate::process::{Server, median};

/// Name, and what is wrong with the flood beside the genuine deliveries.
const ROWS: [(&str, Option<&str>); 5] = [
    ("alone", None),
    ("unsigned", Some("unsigned")),
    ("forged", Some("forged")),
    ("RSA", Some("rsa")),
    ("unknown key", Some("unknown-key")),
];

pub(crate) fn run(rounds: usize, length: Duration) -> anyhow::Result<()> {
    println!(
        "64 connections of signed deliveries, handlers running, beside 64 of a flood: median of {rounds} rounds of {length:?}\n"
    );
    let mut rates = vec![(Vec::new(), Vec::new()); ROWS.len()];
    for round in 1..=rounds {
        for ((name, forge), (genuine, flood)) in ROWS.iter().zip(&mut rates) {
            eprint!("\r\x1b[Kround {round} of {rounds}: {name}");
            let (seen, refused) = once(*forge, length)?;
            genuine.push(rate(&seen));
            flood.extend(refused.as_ref().map(rate));
        }
    }
    eprint!("\r\x1b[K");
    println!("{:<12} {:>12} {:>12} {:>10}", "flood", "genuine/s", "refused/s", "of alone");
    let rates: Vec<_> = rates.into_iter().map(|(a, b)| (median(a), median(b))).collect();
    for ((name, _), (genuine, refused)) in ROWS.iter().zip(&rates) {
        println!("{name:<12} {genuine:>12.0} {refused:>12.0} {:>10.2}", genuine / rates[0].0);
    }
    Ok(())
}

/// What the genuine sender saw, and what the other one did.
fn once(forge: Option<&str>, length: Duration) -> anyhow::Result<(Seen, Option<Seen>)> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Server::signed(folder.path())?;
    server.load_signed(Duration::from_secs(1), None)?;
    let Some(forge) = forge else { return Ok((server.load_signed(length, None)?, None)) };
    std::thread::scope(|scope| {
        // The flood is there before and after what is measured.
        let flood =
            scope.spawn(|| server.load_signed(length + Duration::from_secs(1), Some(forge)));
        std::thread::sleep(Duration::from_millis(500));
        let genuine = server.load_signed(length, None)?;
        let flood = flood.join().map_err(|_| anyhow!("the flood failed"))??;
        Ok((genuine, Some(flood)))
    })
}

fn rate(seen: &Seen) -> f64 {
    seen.requests as f64 / seen.seconds
}
