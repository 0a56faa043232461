//! The resend page: an attempt, an event, or everything that was given up in a period; first as a preview.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::super::{Bus, BusError, Preview, ResendSelection};
use super::fields::FormFields;
use super::layout::{Tab, alert, moment, page, text};
use super::{BusState, PageFailure, encoded};

const HOME: &str = "/admin/resend";

/// The fields that the form passes on to the confirmation.
const FIELDS: [&str; 6] = ["attempt", "event", "subscription", "since", "until", "rate"];

pub(super) async fn confirm(
    State(bus): BusState,
    RawQuery(query): RawQuery,
) -> Result<Response, PageFailure> {
    let query = FormFields::read(query.unwrap_or_default().as_bytes())?;
    let is_asked =
        FIELDS.iter().any(|name| query.some(name).is_some()) || query.get("preview") == "1";
    let preview = if is_asked { Some(preview(&bus, &query).await) } else { None };
    let error =
        preview.as_ref().and_then(|preview| preview.as_ref().err()).map(ToString::to_string);
    let body = html! {
        (note(&query))
        (alert(error.as_deref()))
        @if let Some(Ok(preview)) = &preview { (preview_section(&query, preview)) }
        (form(&query))
    };
    Ok(page("Send again", Tab::Resend, body).into_response())
}

async fn preview(bus: &Bus, query: &FormFields) -> Result<Preview, BusError> {
    bus.preview(selection(query)?, query.number("rate")?).await
}

fn selection(fields: &FormFields) -> Result<ResendSelection, BusError> {
    if let Some(attempt) = fields.some("attempt") {
        let number = attempt.parse();
        return number
            .map(ResendSelection::Attempt)
            .map_err(|_| BusError::Invalid(format!("attempt: {attempt:?} is no number")));
    }
    Ok(match fields.some("event") {
        Some(id) => ResendSelection::Event(id),
        None => ResendSelection::Failed {
            subscription: fields.some("subscription"),
            since: fields.time("since")?,
            until: fields.time("until")?,
        },
    })
}

fn note(query: &FormFields) -> Markup {
    let count: Option<u64> = query.get("sent").parse().ok();
    html! { @if let Some(count) = count { p.note role="status" { (plural(count)) " due again." } } }
}

fn plural(count: u64) -> String {
    if count == 1 { "1 delivery".into() } else { format!("{count} deliveries") }
}

fn preview_section(query: &FormFields, preview: &Preview) -> Markup {
    let rest = preview.deliveries.saturating_sub(preview.events.len() as u64);
    html! {
        section aria-labelledby="preview" {
            h2 id="preview" { "Preview: " (plural(preview.deliveries)) }
            @if preview.deliveries == 0 {
                p.empty { "No ended delivery matches. Waiting deliveries are sent without your help." }
            } @else {
                p { "Duration: " (format!("{:.0}", preview.seconds)) " s." }
                ul {
                    @for id in &preview.events { li { a href={ "/admin/events/" (encoded(id)) } { (id) } } }
                    @if rest > 0 { li { "and " (rest) " more" } }
                }
                form method="post" action=(HOME) {
                    @for name in FIELDS {
                        @if let Some(value) = query.some(name) { input type="hidden" name=(name) value=(value); }
                    }
                    p { button.primary type="submit" { "Send " (plural(preview.deliveries)) " again" } }
                }
            }
        }
    }
}

fn form(query: &FormFields) -> Markup {
    html! {
        h2 { "Deliveries that were given up" }
        form method="get" action=(HOME) {
            input type="hidden" name="preview" value="1";
            fieldset {
                legend { "Given up" }
                div.fields {
                    (text("subscription", "Subscription", "Empty for any.", query.get("subscription")))
                    (moment("since", "Since (UTC)", query.get("since")))
                    (moment("until", "Until (UTC)", query.get("until")))
                    (text("rate", "Deliveries per second", "Empty for all at once.", query.get("rate")))
                }
                p { button type="submit" { "Preview" } }
            }
        }
    }
}

pub(super) async fn send(State(bus): BusState, body: Bytes) -> Result<Response, PageFailure> {
    let form = FormFields::read(&body)?;
    let count = bus.resend(selection(&form)?, form.number("rate")?).await?;
    Ok(Redirect::to(&format!("{HOME}?sent={count}")).into_response())
}
