//! What is to be said of a delivery that has arrived: its key, its headers, its event, its body, its times, its fate.

use chrono::TimeDelta;
use contract::catalog::{EventRow, Table};
use contract::event;
use http::{HeaderMap, HeaderName, HeaderValue};
use inbox::{Detail, State};
use serde_json::Value;
use settings::SourceConfig;
use source::{Fact, FieldLocator, FieldLocators};

use super::check::Verdict::{self, Fail, Pass, Warn};
use super::model;
use super::note::Note;

/// How far clocks may differ before it is worth a word.
const NOTABLE: TimeDelta = TimeDelta::seconds(30);

/// What was found.
pub(super) struct Look {
    pub(super) notes: Vec<Note>,
    pub(super) diff: Option<String>,
}

pub(super) fn examine(
    detail: &Detail,
    source: &SourceConfig,
    catalog: &Table,
) -> anyhow::Result<Look> {
    let entry = &detail.entry;
    let places = source.field_locators(&entry.source)?;
    let headers = headers(&detail.headers);
    let body = event::payload(source.dialect, &detail.body).unwrap_or_default();
    let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
    let row = catalog.event(source.dialect, entry.version, &entry.event_type);
    let mut notes = vec![arrived(detail)];
    notes.push(identified(detail, &places));
    notes.extend(missing(&places, &headers));
    notes.push(named(detail, row, said(&places, &headers, &detail.body).as_deref(), catalog));
    let mut diff = None;
    if let Some(row) = row {
        let fit = model::fit(row, &body, &payload);
        notes.extend(fit.notes);
        diff = fit.diff;
    }
    notes.extend(times(detail, source, &headers)?);
    notes.push(fate(detail));
    Ok(Look { notes, diff })
}

fn arrived(detail: &Detail) -> Note {
    let entry = &detail.entry;
    let proof = match &detail.key {
        Some(key) => format!("proved by the key {key}"),
        None => "without a key".to_owned(),
    };
    let text = format!(
        "delivery {} of source {} ({}): {} bytes, {proof}",
        entry.id, entry.source, entry.environment, entry.size
    );
    Note::new(Pass, text)
}

fn identified(detail: &Detail, places: &FieldLocators) -> Note {
    let id = &detail.entry.message_id;
    if !detail.entry.message_id_derived {
        return Note::new(Pass, format!("message id {id}"));
    }
    let place = places.at(Fact::MessageId).first().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "a place that the settings name".to_owned());
    Note::new(
        Warn,
        format!(
            "no message id in {place}: duplicates are recognised by a digest of the whole request only"
        ),
    )
}

/// The sender's headers that did not come. A user is not always there.
fn missing(places: &FieldLocators, headers: &HeaderMap) -> Vec<Note> {
    let facts = [(Fact::ClientId, Pass), (Fact::EventType, Warn), (Fact::User, Pass)];
    facts
        .into_iter()
        .filter_map(|(fact, verdict)| Some((places.header(fact)?, verdict)))
        .filter(|(header, _)| !headers.contains_key(&header.name))
        .map(|(header, verdict)| Note::new(verdict, format!("no {} header", header.spelling)))
        .collect()
}

fn named(detail: &Detail, row: Option<&EventRow>, said: Option<&str>, catalog: &Table) -> Note {
    let name = &detail.entry.event_type;
    match (row, said) {
        (None, _) => {
            let nearest = catalog
                .events()
                .map(|row| (strsim::jaro_winkler(row.name, name), row.name))
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, nearest)| format!("; {nearest} is the nearest that has one"));
            Note::new(
                Warn,
                format!("event {name:?}: no handler takes it{}", nearest.unwrap_or_default()),
            )
        }
        (Some(_), None) => Note::new(Pass, format!("event {name}, named by the path alone")),
        (Some(row), Some(said)) if !said.eq_ignore_ascii_case(row.name) => {
            Note::new(Pass, format!("event {name}, announced as {said:?}"))
        }
        (Some(_), Some(_)) => Note::new(Pass, format!("event {name}")),
    }
}

/// The event's name as the delivery itself gives it.
fn said(places: &FieldLocators, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(event::without_bom(body)).unwrap_or_default();
    places.at(Fact::EventType).iter().find_map(|place| match place {
        FieldLocator::Header(header) => headers.get(&header.name)?.to_str().ok().map(str::to_owned),
        FieldLocator::Body(path) => {
            let member = |value: Value, key: &str| {
                let members = value.as_object()?.iter();
                members
                    .clone()
                    .find(|(name, _)| name.eq_ignore_ascii_case(key))
                    .map(|(_, v)| v.clone())
            };
            let value = path.keys().try_fold(body.clone(), member)?;
            value.as_str().map(str::to_owned).or_else(|| value.as_i64().map(|n| n.to_string()))
        }
    })
}

/// The sender's clock against the receiver's, by the signed time and the event's own.
fn times(detail: &Detail, source: &SourceConfig, headers: &HeaderMap) -> anyhow::Result<Vec<Note>> {
    let entry = &detail.entry;
    let mut notes = Vec::new();
    let scheme = source.scheme(&entry.source)?.filter(|_| source.auth_kind().has_signature());
    let signed = scheme.and_then(|scheme| scheme.stamps(headers).times.first().copied());
    if let Some(signed) = signed {
        let off = entry.received_at - signed;
        let seconds = off.num_seconds();
        notes.push(match off.abs() > NOTABLE {
            true => Note::new(Warn, format!("signed {seconds} s before it was received: the clocks differ, or the way is slow")),
            false => Note::new(Pass, format!("signed {seconds} s before it was received")),
        });
    }
    if let Some(time) = entry.event_time {
        let age = entry.received_at - time;
        notes.push(match age < -NOTABLE {
            true => Note::new(
                Warn,
                format!(
                    "happened {} s after it was received: one of the clocks is wrong",
                    -age.num_seconds()
                ),
            ),
            false => {
                Note::new(Pass, format!("happened {} s before it was received", age.num_seconds()))
            }
        });
    }
    Ok(notes)
}

fn fate(detail: &Detail) -> Note {
    let entry = &detail.entry;
    let error = entry.last_error.as_deref().unwrap_or_default();
    let (verdict, text): (Verdict, String) = match entry.state {
        State::Done => (Pass, "handled".into()),
        State::Dead => (Fail, format!("given up: {error}")),
        State::Unrouted => (Warn, "kept until a handler takes it and somebody replays it".into()),
        State::Ready if entry.attempts > 0 => {
            (Warn, format!("its handler failed and is tried again: {error}"))
        }
        State::Ready => {
            (Warn, "not handled yet: no receiver runs, or its handlers are paused".into())
        }
        State::Running => (Pass, "its handler is still running".into()),
        State::Canary => (Pass, "a probe".into()),
    };
    let more = match entry.conflicts {
        0 => String::new(),
        conflicts => format!("; {conflicts} resends with other bytes"),
    };
    Note::new(verdict, text + &more)
}

/// The kept headers. Secrets are not among them.
fn headers(json: &str) -> HeaderMap {
    let pairs: Vec<(String, String)> = serde_json::from_str(json).unwrap_or_default();
    let parsed = pairs.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    });
    parsed.collect()
}
