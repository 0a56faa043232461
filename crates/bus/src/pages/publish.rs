//! The form by which an event is published.

use ::pages::{FormError, FormFields, check, choice, errors, note, text};
use axum::extract::State;
use axum::response::Response;
use contract::event::{Environment, Id};
use http::StatusCode;
use maud::html;
use serde_json::value::RawValue;

use super::definition::{Control, control};
use super::request::{FormRequest, PageRequest};
use super::words::{count, sentence};
use super::{Admin, AdminState, PageResult, events, status};
use crate::{BusError, Publication, PublishReceipt, PublishStatus};

const TAB: &str = "events";

pub(super) async fn new(State(admin): AdminState, request: PageRequest) -> Response {
    form_page(&admin, &request, &request.query, &[], StatusCode::OK)
}

pub(super) async fn publish(
    State(admin): AdminState,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
    let (publication, errors) = publication(&form, admin.bus.now());
    if !errors.is_empty() {
        return Ok(form_page(&admin, &page, &form, &errors, StatusCode::UNPROCESSABLE_ENTITY));
    }
    match admin.bus.publish(vec![publication]).await {
        Ok(receipts) => {
            let receipt = receipts.into_iter().next();
            let receipt =
                receipt.ok_or_else(|| BusError::Unavailable("nothing was published".into()))?;
            Ok(page.redirect_with(&admin, &events::address(&receipt.id), note(&said(&receipt))))
        }
        Err(error @ BusError::Unavailable(_)) => Err(error.into()),
        Err(error) => {
            let refused = [of_bus(&error.to_string())];
            Ok(form_page(&admin, &page, &form, &refused, status(&error)))
        }
    }
}

/// Outcome of a publication.
fn said(receipt: &PublishReceipt) -> String {
    match (receipt.status, receipt.deliveries) {
        (PublishStatus::Accepted, 0) => {
            "The event is published, but no subscription takes it: nothing is sent.".to_owned()
        }
        (PublishStatus::Accepted, number) => {
            format!("The event is published to {}.", count(number as u64, "subscription", "subscriptions"))
        }
        (PublishStatus::Duplicate, _) => {
            "This event was published before under the same id, as shown here. Nothing more is sent.".to_owned()
        }
        (PublishStatus::Conflict, _) => {
            "Another event was published before under this id: it is shown here and kept. Yours is not published; give it an id of its own."
                .to_owned()
        }
    }
}

/// An error of the bus as that of its field, in the words of the form.
fn of_bus(error: &str) -> FormError {
    let error = error.strip_prefix("event 1: ").unwrap_or(error);
    let error = error.replace(
        "\"raw\": true publishes it anyway",
        "tick “Publish it even if it does not fit its model” to do so",
    );
    let (field, label) = match error.split(':').next() {
        Some("type") => ("type", "Event"),
        Some("id") => ("id", "Id"),
        Some("data") => ("data", "Data"),
        Some("record") => ("record", "Object record"),
        _ => return FormError::new("", sentence(&error)),
    };
    FormError::new(field, format!("{label}{}", &error[error.find(':').unwrap_or_default()..]))
}

fn publication(form: &FormFields, now: contract::time::Timestamp) -> (Publication, Vec<FormError>) {
    let mut errors = Vec::new();
    if form.get("type").is_empty() {
        errors.push(FormError::new(
            "type",
            "Event: choose one of the catalog's, or write a name of your own.",
        ));
    }
    let mut json = |name: &str, label: &str| {
        let text = form.some(name)?;
        match RawValue::from_string(text) {
            Ok(value) => Some(value),
            Err(error) => {
                errors.push(FormError::new(name, format!("{label}: this is not JSON: {error}.")));
                None
            }
        }
    };
    let (data, record) = (json("data", "Data"), json("record", "Object record"));
    let time = form.time("time", now).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let publication = Publication {
        id: form.some("id"),
        event_type: form.get("type").to_owned(),
        data,
        record,
        environment: Environment::from_name(form.get("environment")),
        object_type: form.some("object_type"),
        object_id: form.some("object_id").map(|id| Id::from(id.as_str())),
        user: form.some("user"),
        time,
        raw: form.is_on("raw"),
    };
    (publication, errors)
}

fn form_page(
    admin: &Admin,
    request: &PageRequest,
    form: &FormFields,
    wrong: &[FormError],
    status: StatusCode,
) -> Response {
    let environments = [Environment::Live, Environment::Stage]
        .map(|environment| (environment.as_str(), environment.as_str()));
    let control =
        |name: &'static str, label, hint, kind| control(form, wrong, name, label, hint, kind);
    let is_open = ["environment", "object_type", "object_id", "user", "record", "raw"]
        .iter()
        .any(|name| form.some(name).is_some());
    let content = html! {
        (errors(wrong, request.here()))
        form method="post" action="events" {
            fieldset {
                legend { "Event" }
                div.fields {
                    (control("type", "Event", "One of the catalog's, or a name of your own.", Control::Suggested {
                        options: admin.bus.types().iter().map(|kind| kind.name.to_owned()).collect(), is_required: true,
                    }))
                    (control("id", "Id", "An id is published once. Empty for a new one.", Control::Line { is_required: false }))
                    div.wide { (control("data", "Data", "A JSON object. Empty for the catalog's sample.", Control::Lines(8))) }
                }
            }
            details.group open[is_open] {
                summary { "More" }
                div.fields {
                    (choice("environment", "Environment", Some("any"), &environments, form.get("environment")))
                    (text("object_type", "Object type", "", form.get("object_type")))
                    (text("object_id", "Object id", "", form.get("object_id")))
                    (text("user", "User", "", form.get("user")))
                    div.wide { (control("record", "Object record", "A JSON object, for subscriptions that include it.", Control::Lines(3))) }
                    div.wide { (check("raw", "Publish it even if it does not fit its model", form.is_on("raw"))) }
                }
            }
            p.bar {
                button.primary type="submit" { "Publish" }
                a.button href="events" { "Cancel" }
            }
        }
    };
    let title = if wrong.is_empty() { "Publish an event" } else { "Not published yet" };
    request.page(TAB, title).with_status(status, content)
}
