//! The promises that a chaos run checks at its end.
//!
//! - Each acknowledged id is kept once, and nothing else is kept. All answers to it name the same delivery.
//! - Of the answers to an id one at most says that it is new; exactly one if no request failed: the answer that said so may
//!   have been lost, on the way to the sender or from the database to the receiver, which then answers 503.
//! - Each delivery is done, by exactly one attempt. Attempts before it may be lost, because a worker was killed, was stopped,
//!   or could not write its verdict; an attempt whose verdict does not count may have run at the same time as the one that
//!   replaces it, or later.
//! - The attempts that count run one after the other in each entity, in the order of ids: by the database, since the times of
//!   their verdicts are in this order; and by the workers' logs, whose lines are written between claim and verdict. A line
//!   may be missing, since a killed worker may not have written it yet.

use std::collections::HashMap;

use super::load::Answers;
use super::node::Handled;

/// Numbers of a run whose promises hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) kept: usize,
    pub(crate) handled: usize,
    /// Attempts that were lost.
    pub(crate) lost: usize,
    /// Ids of which an answer was lost.
    pub(crate) unsure: usize,
}

/// A delivery as the database has it.
struct Kept {
    id: i64,
    message_id: String,
    entity: String,
    /// Number, outcome and end of each attempt.
    attempts: Vec<(u32, String, i64)>,
}

/// Statement that lists all deliveries.
pub(crate) const KEPT: &str = "SELECT d.id, d.message_id, d.ordering_key,
    (SELECT string_agg(concat_ws(':', a.attempt, a.outcome, a.ended_at), ',' ORDER BY a.attempt)
        FROM webhook_inbox.attempt a WHERE a.delivery = d.id)
    FROM webhook_inbox.delivery d ORDER BY d.id";

/// Checks all promises on what [`KEPT`] lists; the error is the first that does not hold.
pub(crate) fn check(
    kept: &str,
    answers: &HashMap<String, Answers>,
    log: &[Handled],
) -> Result<Counts, String> {
    let kept: Vec<Kept> = kept.lines().map(read).collect();
    let mut ids = HashMap::new();
    for one in &kept {
        if let Some(other) = ids.insert(one.message_id.as_str(), one.id) {
            return Err(format!("{} is kept twice: {other} and {}", one.message_id, one.id));
        }
        if !answers.contains_key(&one.message_id) {
            return Err(format!("{} was never sent, but is kept", one.message_id));
        }
    }
    let mut unsure = 0;
    for (id, answers) in answers {
        check_answers(id, answers, ids.get(id.as_str()).copied())?;
        unsure += usize::from(answers.receipts.iter().all(|(_, is_new)| !is_new));
    }
    let mut lost = 0;
    for one in &kept {
        let of =
            |outcome| one.attempts.iter().filter(move |(_, other, _)| other == outcome).count();
        if of("done") != 1 || of("done") + of("lost") != one.attempts.len() {
            return Err(format!("{} ({}): {:?}", one.message_id, one.id, one.attempts));
        }
        lost += of("lost");
    }
    check_order(&kept, log)?;
    Ok(Counts {
        sent: answers.len(),
        acknowledged: answers.values().filter(|answers| !answers.receipts.is_empty()).count(),
        kept: kept.len(),
        handled: kept.len(),
        lost,
        unsure,
    })
}

fn check_answers(id: &str, answers: &Answers, kept: Option<i64>) -> Result<(), String> {
    let violated = |what| Err(format!("{id} {what}: {answers:?}, kept as {kept:?}"));
    if answers.given_up > 0 {
        return violated("was not acknowledged in time");
    }
    if answers.receipts.iter().any(|(delivery, _)| Some(*delivery) != kept) {
        return violated("was acknowledged, and is not kept as such");
    }
    match answers.receipts.iter().filter(|(_, is_new)| *is_new).count() {
        0 if answers.failures == 0 => violated("was never new"),
        0 | 1 => Ok(()),
        _ => violated("was new twice"),
    }
}

/// Checks the order of the attempts that count.
fn check_order(kept: &[Kept], log: &[Handled]) -> Result<(), String> {
    let log: HashMap<(i64, u32), i64> =
        log.iter().map(|(time, id, attempt)| ((*id, *attempt), *time)).collect();
    let (mut ends, mut lines) = (HashMap::new(), HashMap::new());
    for one in kept {
        let Some((number, _, end)) = one.attempts.last() else { continue };
        let line = log.get(&(one.id, *number));
        for (latest, time) in [(&mut ends, Some(end)), (&mut lines, line)] {
            let Some(time) = time else { continue };
            if let Some((before, earlier)) = latest.insert(&one.entity, (one.id, *time))
                && earlier > *time
            {
                return Err(format!(
                    "entity {}: {before} was handled at {earlier}, after {} at {time}",
                    one.entity, one.id
                ));
            }
        }
    }
    Ok(())
}

fn read(line: &str) -> Kept {
    let fields: Vec<&str> = line.split('|').collect();
    let attempts = fields[3].split(',').filter(|text| !text.is_empty()).map(|text| {
        let parts: Vec<&str> = text.split(':').collect();
        (parts[0].parse().unwrap(), parts[1].to_owned(), parts[2].parse().unwrap())
    });
    Kept {
        id: fields[0].parse().unwrap(),
        message_id: fields[1].to_owned(),
        entity: fields[2].to_owned(),
        attempts: attempts.collect(),
    }
}
