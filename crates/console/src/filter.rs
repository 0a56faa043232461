//! The filter of deliveries in an address: one table of fields, from which the form is drawn and read.

use contract::event::{DeliveryId, Environment};
use contract::time::Timestamp;
use inbox::{BodyTest, Filter, State};
use maud::{Markup, html};
use pages::{FormError, FormFields, check, choice, filters, moment, suggested, text};

use crate::Console;
use crate::visit::Visit;

/// The fields of a filter, in the form and in addresses.
pub(crate) const FIELDS: [&str; 19] = [
    "state",
    "source",
    "event",
    "environment",
    "client",
    "id",
    "entity",
    "key",
    "error",
    "text",
    "member",
    "value",
    "last",
    "since",
    "until",
    "conflicts",
    "recognised",
    "replayed",
    "number",
];

/// Views that operators often need: name, and filter.
pub(crate) const SAVED: [(&str, &str); 6] = [
    ("All", ""),
    ("Dead", "state=dead"),
    ("Unrouted", "state=unrouted"),
    ("Waiting", "state=ready"),
    ("Running", "state=running"),
    ("Conflicts", "conflicts=on"),
];

/// Ranges that end now.
const RANGES: [(&str, &str); 5] = [
    ("15m", "last 15 minutes"),
    ("1h", "last hour"),
    ("24h", "last 24 hours"),
    ("7d", "last 7 days"),
    ("30d", "last 30 days"),
];

const ENVIRONMENTS: [Environment; 2] = [Environment::Live, Environment::Stage];

/// The filter of a visit's query. Bodies hold what is redacted, which a search would tell piece by piece: only operators search
/// them.
pub(crate) fn of(visit: &Visit, now: Timestamp) -> Result<Filter, FormError> {
    let filter = read(&visit.query, now)?;
    match filter.body {
        Some(_) if !visit.may_act() => {
            Err(FormError::new("text", "only operators search bodies; they hold what is redacted"))
        }
        _ => Ok(filter),
    }
}

/// The filter of a query.
pub(crate) fn read(query: &FormFields, now: Timestamp) -> Result<Filter, FormError> {
    let since = match query.some("last") {
        Some(_) => query.time("last", now)?,
        None => query.time("since", now)?,
    };
    Ok(Filter {
        ids: ids(query, "number")?,
        state: named(query, "state", &State::ALL, State::as_str)?,
        source: query.some("source"),
        event_type: query.some("event"),
        environment: named(query, "environment", &ENVIRONMENTS, |world| world.as_str())?,
        client_id: query.some("client"),
        message_id_prefix: query.some("id"),
        ordering_key: query.some("entity"),
        key: query.some("key"),
        error: query.some("error"),
        body: body(query)?,
        since,
        until: query.time("until", now)?,
        conflicts: query.is_on("conflicts"),
        recognised: query.is_on("recognised"),
        replayed: query.is_on("replayed"),
        ..Filter::default()
    })
}

fn body(query: &FormFields) -> Result<Option<BodyTest>, FormError> {
    match (query.some("text"), query.some("member")) {
        (_, Some(pointer)) if !pointer.starts_with('/') => {
            Err(FormError::new("member", "write a JSON pointer such as /Order/Id"))
        }
        (_, Some(pointer)) => {
            let value = query.get("value").to_owned();
            Ok(Some(BodyTest::Member { pointer, value }))
        }
        (text, None) => Ok(text.map(BodyTest::Contains)),
    }
}

fn named<T: Copy>(
    query: &FormFields,
    name: &str,
    all: &[T],
    text: impl Fn(T) -> &'static str,
) -> Result<Option<T>, FormError> {
    let Some(wanted) = query.some(name) else { return Ok(None) };
    let found = all.iter().copied().find(|one| text(*one) == wanted);
    let known = || all.iter().map(|one| text(*one)).collect::<Vec<_>>().join(", ");
    found
        .map(Some)
        .ok_or_else(|| FormError::new(name, format!("{wanted:?} is none of {}", known())))
}

/// Delivery numbers in a field that can be given several times, or once with commas.
pub(crate) fn ids(query: &FormFields, name: &str) -> Result<Vec<DeliveryId>, FormError> {
    let numbers = query.all(name).flat_map(|text| text.split([',', ' ']));
    let number = |text: &str| {
        text.parse().map_err(|_| FormError::new(name, format!("{text:?} is no delivery's number")))
    };
    numbers.map(str::trim).filter(|text| !text.is_empty()).map(number).collect()
}

/// True if a query has a filter that stands in the folded part of the form.
fn is_detailed(query: &FormFields) -> bool {
    let folded = [
        "environment",
        "client",
        "entity",
        "key",
        "error",
        "text",
        "member",
        "since",
        "until",
        "conflicts",
        "recognised",
        "replayed",
    ];
    folded.iter().any(|name| query.some(name).is_some())
}

/// The form.
pub(crate) fn form(console: &Console, query: &FormFields) -> Markup {
    let states = State::ALL.map(|state| (state.as_str(), state.as_str()));
    let sources: Vec<(&str, &str)> = console
        .parts
        .sources
        .iter()
        .map(|source| (source.name.as_str(), source.name.as_str()))
        .collect();
    let environments = ENVIRONMENTS.map(|world| (world.as_str(), world.as_str()));
    let get = |name| query.get(name);
    let fields = html! {
        (choice("state", "State", Some("any"), &states, get("state")))
        (choice("source", "Source", Some("any"), &sources, get("source")))
        (suggested("event", "Event", "", get("event"), console.parts.table.events().map(|row| row.name)))
        (text("id", "Message id begins with", "", get("id")))
        (choice("last", "Accepted", Some("any time"), &RANGES, get("last")))
    };
    let more = html! {
        (choice("environment", "Environment", Some("any"), &environments, get("environment")))
        (text("client", "Client id", "", get("client")))
        (text("entity", "Entity", "The ordering key, as a delivery's page shows it.", get("entity")))
        (text("key", "Key", "A fingerprint.", get("key")))
        (text("error", "Last error contains", "", get("error")))
        (text("text", "Body contains", "Looks through the newest first, for as long as a page may take.", get("text")))
        (text("member", "Body has at", "A JSON pointer, such as /Order/Id,", get("member")))
        (text("value", "the value", "", get("value")))
        (moment("since", "Since (UTC)", get("since")))
        (moment("until", "Until (UTC)", get("until")))
        div.field {
            (check("conflicts", "Resent with other bytes", query.is_on("conflicts")))
            (check("recognised", "Resends recognised by bytes alone", query.is_on("recognised")))
            (check("replayed", "Replayed", query.is_on("replayed")))
        }
    };
    filters("deliveries", fields, Some((is_detailed(query), more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Result<Filter, FormError> {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        read(&FormFields::read(query.as_bytes()).unwrap(), now)
    }

    #[test]
    fn a_query_is_a_filter() {
        let found = filter("state=dead&event=OrderEvent&last=24h&member=%2FOrder%2FId&value=7&number=1,2&replayed=on").unwrap();
        assert_eq!(found.state, Some(State::Dead));
        assert_eq!(found.event_type.as_deref(), Some("OrderEvent"));
        assert_eq!(found.since.unwrap().to_rfc3339(), "2026-01-31T00:00:00+00:00");
        assert_eq!(
            found.body,
            Some(BodyTest::Member { pointer: "/Order/Id".into(), value: "7".into() })
        );
        assert_eq!(found.ids, [1, 2]);
        assert!(found.replayed && !found.conflicts);
        assert_eq!(filter("").unwrap(), Filter::default());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (query, field) in [
            ("state=died", "state"),
            ("since=yesterday", "since"),
            ("member=Order", "member"),
            ("number=x", "number"),
            ("environment=prod", "environment"),
        ] {
            assert_eq!(filter(query).unwrap_err().field, field, "{query}");
        }
    }

    #[test]
    fn saved_views_are_filters() {
        for (name, query) in SAVED {
            assert!(filter(query).is_ok(), "{name}");
        }
    }
}
