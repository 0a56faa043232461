//! Remarks on a delivery that has arrived: key, headers, event, body, times and handling.

use chrono::TimeDelta;
use contract::catalog::{EventRow, Table};
use contract::event::{self, BodyFormat};
use http::{HeaderMap, HeaderName, HeaderValue};
use inbox::{Detail, State};
use serde_json::Value;
use settings::SourceConfig;
use source::{Fact, FieldLocator, FieldLocators};

use super::check::CheckVerdict::{self, Fail, Pass, Warn};
use super::model;
use super::remark::Remark;

/// The difference between two clocks that is worth a warning.
const NOTABLE_SKEW: TimeDelta = TimeDelta::seconds(30);

/// The result of an examination.
pub(super) struct Examination {
    pub(super) notes: Vec<Remark>,
    pub(super) diff: Option<String>,
}

pub(super) fn examine(
    detail: &Detail,
    source: &SourceConfig,
    catalog: &Table,
) -> anyhow::Result<Examination> {
    let entry = &detail.entry;
    let places = source.field_locators(&entry.source)?;
    let headers = headers(&detail.headers);
    let format = BodyFormat::from_name(&entry.format).unwrap_or_default();
    let body = event::payload(source.dialect, format, &detail.body).unwrap_or_default();
    let payload: Value = serde_json::from_slice(&body).unwrap_or_default();
    let row = catalog.event(source.dialect, entry.version, &entry.event_type);
    let mut notes = vec![arrived(detail)];
    notes.push(identified(detail, &places));
    notes.extend(missing(&places, &headers));
    notes.push(named(
        detail,
        row,
        announced_event(&places, &headers, &detail.body).as_deref(),
        catalog,
    ));
    let mut diff = None;
    if let Some(row) = row {
        let fit = model::fit(row, &body, &payload);
        notes.extend(fit.notes);
        diff = fit.diff;
    }
    notes.extend(times(detail, source, &headers)?);
    notes.push(handling(detail));
    Ok(Examination { notes, diff })
}

fn arrived(detail: &Detail) -> Remark {
    let entry = &detail.entry;
    let proof = match &detail.key {
        Some(key) => format!("proved by the key {key}"),
        None => "without a key".to_owned(),
    };
    let text = format!(
        "delivery {} of source {} ({}): {} bytes, {proof}",
        entry.id, entry.source, entry.environment, entry.size
    );
    Remark::new(Pass, text)
}

fn identified(detail: &Detail, places: &FieldLocators) -> Remark {
    let id = &detail.entry.message_id;
    if !detail.entry.message_id_derived {
        return Remark::new(Pass, format!("message id {id}"));
    }
    let place = places.at(Fact::MessageId).first().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "the configured location".to_owned());
    Remark::new(
        Warn,
        format!(
            "no message id in {place}: duplicates are recognised by a digest of the whole request only"
        ),
    )
}

/// The sender's headers that are missing. A user is optional.
fn missing(places: &FieldLocators, headers: &HeaderMap) -> Vec<Remark> {
    let facts = [(Fact::ClientId, Pass), (Fact::EventType, Warn), (Fact::User, Pass)];
    facts
        .into_iter()
        .filter_map(|(fact, verdict)| Some((places.header(fact)?, verdict)))
        .filter(|(header, _)| !headers.contains_key(&header.name))
        .map(|(header, verdict)| Remark::new(verdict, format!("no {} header", header.spelling)))
        .collect()
}

fn named(
    detail: &Detail,
    row: Option<&EventRow>,
    announced: Option<&str>,
    catalog: &Table,
) -> Remark {
    let name = &detail.entry.event_type;
    match (row, announced) {
        (None, _) => {
            let known = catalog.events().map(|row| row.name);
            let nearest = text::nearest(name, known, 0.8)
                .map(|nearest| format!("; {nearest} is the nearest that has one"));
            Remark::new(
                Warn,
                format!("event {name:?}: no handler takes it{}", nearest.unwrap_or_default()),
            )
        }
        (Some(_), None) => Remark::new(Pass, format!("event {name}, named by the path alone")),
        (Some(row), Some(announced)) if !announced.eq_ignore_ascii_case(row.name) => {
            Remark::new(Pass, format!("event {name}, announced as {announced:?}"))
        }
        (Some(_), Some(_)) => Remark::new(Pass, format!("event {name}")),
    }
}

/// The event type that the delivery itself gives.
fn announced_event(places: &FieldLocators, headers: &HeaderMap, body: &[u8]) -> Option<String> {
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
        FieldLocator::Query(_) | FieldLocator::Template(_) => None,
    })
}

/// The difference between the sender's clock and the receiver's, by the signed time and the event's own.
fn times(
    detail: &Detail,
    source: &SourceConfig,
    headers: &HeaderMap,
) -> anyhow::Result<Vec<Remark>> {
    let entry = &detail.entry;
    let mut notes = Vec::new();
    let scheme = source.scheme(&entry.source)?.filter(|_| source.auth_kind().has_signature());
    let signed = scheme.and_then(|scheme| scheme.stamps(headers).times.first().copied());
    if let Some(signed) = signed {
        let off = entry.received_at - signed;
        let seconds = off.num_seconds();
        notes.push(match off.abs() > NOTABLE_SKEW {
            true => Remark::new(Warn, format!("signed {seconds} s before it was received: the clocks differ, or the way is slow")),
            false => Remark::new(Pass, format!("signed {seconds} s before it was received")),
        });
    }
    if let Some(time) = entry.event_time {
        let age = entry.received_at - time;
        notes.push(match age < -NOTABLE_SKEW {
            true => Remark::new(
                Warn,
                format!(
                    "happened {} s after it was received: one of the clocks is wrong",
                    -age.num_seconds()
                ),
            ),
            false => Remark::new(
                Pass,
                format!("happened {} s before it was received", age.num_seconds()),
            ),
        });
    }
    Ok(notes)
}

fn handling(detail: &Detail) -> Remark {
    let entry = &detail.entry;
    let error = entry.last_error.as_deref().unwrap_or_default();
    let (verdict, text): (CheckVerdict, String) = match entry.state {
        State::Done => (Pass, "handled".into()),
        State::Dead => (Fail, format!("given up: {error}")),
        State::Unrouted => (Warn, "stored until a handler is registered and it is replayed".into()),
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
    Remark::new(verdict, text + &more)
}

/// The stored headers. Secrets are not among them.
fn headers(json: &str) -> HeaderMap {
    let pairs: Vec<(String, String)> = serde_json::from_str(json).unwrap_or_default();
    let parsed = pairs.iter().filter_map(|(name, value)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    });
    parsed.collect()
}
