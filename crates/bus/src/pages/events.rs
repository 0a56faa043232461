//! The events pages: the list, the form to publish, and each event with its deliveries and attempts.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use contract::event::{Environment, Id};
use maud::{Markup, html};
use serde_json::value::RawValue;

use super::super::{
    Bus, BusError, DeliveryEntry, EventDetail, EventFilter, EventLogEntry, Publication,
};
use super::fields::FormFields;
use super::layout::{
    PAGE, Tab, alert, body, chip, choice, facts, field, filters, further, last_of, moment, note,
    page, some_time, table, text, time,
};
use super::{BusState, PageFailure, attempts, encoded, status};

const HOME: &str = "/admin/events";

pub(super) async fn list(
    State(bus): BusState,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let filter = EventFilter { limit: Some(PAGE), ..query.filter()? };
    let events = bus.events(filter).await?;
    let rows: Vec<Markup> = events.iter().map(line).collect();
    let cursor = last_of(&events).map(|last| ("before", last.number.to_string()));
    let heads = ["Published (UTC)", "Event", "Id", "Object", "User", "Environment"];
    let body = html! {
        p.bar { a.button.primary href={ (HOME) "/new" } { "Publish an event" } }
        (filter_form(&query))
        (table("Events", &heads, &rows, "No event matches."))
        (further(HOME, &query, "Older", cursor))
    };
    Ok(page("Events", Tab::Events, body).into_response())
}

fn line(event: &EventLogEntry) -> Markup {
    html! {
        td { (time(event.published_at)) }
        td { (event.event_type) }
        td { a href=(address(&event.id)) { (event.id) } }
        td { (object(event)) }
        td { (event.user.as_deref().unwrap_or("–")) }
        td { (event.environment.as_deref().unwrap_or("any")) }
    }
}

fn object(event: &EventLogEntry) -> Markup {
    let parts = [event.object_type.as_deref(), event.object_id.as_deref()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    html! { @if parts.is_empty() { "–" } @else { (parts.join(" ")) } }
}

fn filter_form(query: &FormFields) -> Markup {
    let fields = html! {
        (text("type", "Event", "", query.get("type")))
        (text("object_type", "Object type", "", query.get("object_type")))
        (text("object_id", "Object id", "", query.get("object_id")))
        (text("user", "User", "", query.get("user")))
        (moment("since", "Since (UTC)", query.get("since")))
        (moment("until", "Until (UTC)", query.get("until")))
    };
    filters(HOME, fields)
}

fn address(id: &str) -> String {
    format!("{HOME}/{}", encoded(id))
}

pub(super) async fn show(
    State(bus): BusState,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let detail = bus.event(&id).await?;
    let EventDetail { event, data, record, deliveries, attempts } = &detail;
    let rows: Vec<Markup> = deliveries.iter().map(delivery).collect();
    let heads = ["Subscription", "State", "Attempts", "Next attempt (UTC)", "Ended (UTC)"];
    let content = html! {
        (note(&query))
        p.bar {
            a.button href=(address(&id)) { "Refresh" }
            a.button href={ "/admin/resend?event=" (encoded(&id)) } { "Send again" }
        }
        (facts(&[
            ("Id", html! { code { (event.id) } }),
            ("Object", object(event)),
            ("Happened (UTC)", time(event.happened_at)),
            ("Published (UTC)", time(event.published_at)),
            ("User", html! { (event.user.as_deref().unwrap_or("–")) }),
            ("Environment", html! { (event.environment.as_deref().unwrap_or("any")) }),
        ]))
        h2 { "Deliveries" }
        (table("Deliveries", &heads, &rows, "No subscription matched it."))
        h2 { "Attempts" }
        (attempts::lines(attempts))
        h2 { "Data" }
        (body(data))
        @if let Some(record) = record { h2 { "Object record" } (body(record)) }
    };
    Ok(page(&event.event_type, Tab::Events, content).into_response())
}

fn delivery(delivery: &DeliveryEntry) -> Markup {
    html! {
        td { a href={ "/admin/subscriptions/" (encoded(&delivery.subscription)) } { (delivery.subscription) } }
        td { (chip(delivery.state)) }
        td.num { (delivery.attempts) }
        td { (some_time(delivery.due_at)) }
        td { (some_time(delivery.ended_at)) }
    }
}

pub(super) async fn new(State(bus): BusState) -> Response {
    form_page(&bus, &FormFields::default(), None).into_response()
}

pub(super) async fn publish(State(bus): BusState, form: Bytes) -> Result<Response, PageFailure> {
    let form = FormFields::read(&form)?;
    let published = match publication(&form) {
        Ok(publication) => bus.publish(vec![publication]).await,
        Err(error) => Err(error),
    };
    let receipt = published.map(|receipts| receipts.into_iter().next());
    match receipt {
        Ok(Some(receipt)) => {
            let to = format!("{}?note=published", address(&receipt.id));
            Ok(Redirect::to(&to).into_response())
        }
        Ok(None) => Err(BusError::Unavailable("nothing was published".into()).into()),
        Err(error) => {
            let why = error.to_string();
            Ok((status(&error), form_page(&bus, &form, Some(&why))).into_response())
        }
    }
}

fn publication(form: &FormFields) -> Result<Publication, BusError> {
    let raw = |name: &str| {
        let parsed = |text: String| RawValue::from_string(text);
        let value = form.some(name).map(parsed).transpose();
        value.map_err(|error| BusError::Invalid(format!("{name}: not JSON: {error}")))
    };
    Ok(Publication {
        id: form.some("id"),
        event_type: form.get("type").to_owned(),
        data: raw("data")?,
        record: raw("record")?,
        environment: Environment::from_name(form.get("environment")),
        object_type: form.some("object_type"),
        object_id: form.some("object_id").map(|id| Id::from(id.as_str())),
        user: form.some("user"),
        time: form.time("time")?,
        raw: form.get("raw") == "on",
    })
}

fn form_page(bus: &Bus, form: &FormFields, error: Option<&str>) -> axum::response::Html<String> {
    let environments =
        [Environment::Live, Environment::Stage].map(|environment| environment.as_str());
    let content = html! {
        (alert(error))
        form method="post" action=(HOME) {
            fieldset {
                legend { "Event" }
                div.fields {
                    (field("type", "Event", "One of the catalog's, or a name of your own.", html! {
                        input type="text" id="type" name="type" value=(form.get("type")) list="types" required autocomplete="off" aria-describedby="type-hint";
                        datalist id="types" { @for kind in bus.types().iter() { option value=(kind.name) {} } }
                    }))
                    (text("id", "Id", "An id is published once. Empty for a new one.", form.get("id")))
                    (choice("environment", "Environment", Some("any"), &environments, form.get("environment")))
                    (text("object_type", "Object type", "", form.get("object_type")))
                    (text("object_id", "Object id", "", form.get("object_id")))
                    (text("user", "User", "", form.get("user")))
                    div.wide { (field("data", "Data", "A JSON object. Empty for the catalog's sample.", html! {
                        textarea id="data" name="data" rows="8" aria-describedby="data-hint" { (form.get("data")) }
                    })) }
                    div.wide { (field("record", "Object record", "A JSON object, for subscriptions that include it.", html! {
                        textarea id="record" name="record" rows="3" aria-describedby="record-hint" { (form.get("record")) }
                    })) }
                    div.check.wide {
                        input type="checkbox" id="raw" name="raw" value="on" checked[form.get("raw") == "on"];
                        label for="raw" { "Publish it even if it does not fit its model" }
                    }
                }
            }
            p.bar {
                button.primary type="submit" { "Publish" }
                a.button href=(HOME) { "Cancel" }
            }
        }
    };
    page("Publish an event", Tab::Events, content)
}
