//! Resends: in place from other pages, and, on a page of its own, of everything that was given up in a period, first as
//! a preview.

use ::pages::{
    Column, FormError, FormFields, Table, alert, choice, encoded, errors, hidden, moment, note,
    suggested, text,
};
use axum::extract::State;
use maud::{Markup, html};

use super::request::{Filter, FormRequest, PageRequest};
use super::words::{Now, RANGES, count, sentence};
use super::{Admin, AdminState, PageResult, SITE};
use crate::outbox::FoundDelivery;
use crate::{Bus, BusError, Preview, ResendSelection};

const HOME: &str = "resend";

/// The fields that the form passes on to the confirmation.
const FIELDS: [&str; 5] = ["subscription", "range", "since", "until", "rate"];

/// The largest number of attempts that one form sends again, and of deliveries that a preview lists.
const SELECTED: usize = 200;
const LISTED: usize = 20;

/// The preview of a resend, and its first deliveries.
struct Shown {
    preview: Preview,
    first: Vec<FoundDelivery>,
}

pub(super) async fn confirm(State(admin): AdminState, request: PageRequest) -> PageResult {
    let query = &request.query;
    let now = Now::of(&admin.bus);
    let mut filter = Filter::new(query, now.time);
    let (selection, rate) = (failed(&mut filter), rate(&mut filter));
    let is_asked =
        FIELDS.iter().any(|name| query.some(name).is_some()) || query.get("preview") == "1";
    let shown = match (is_asked, filter.errors.as_slice()) {
        (true, []) => match preview(&admin.bus, selection, rate).await {
            Ok(shown) => Some(shown),
            Err(error @ BusError::Unavailable(_)) => return Err(error.into()),
            Err(error) => {
                filter.refuse("rate", &error.to_string());
                None
            }
        },
        _ => None,
    };
    let content = html! {
        (request.note(&admin))
        (errors(&filter.errors, request.here()))
        @if let Some(shown) = &shown { (preview_section(now, query, shown)) }
        (form(&admin, query))
    };
    Ok(request.page(HOME, "Resend").with_status(filter.status(), content))
}

fn failed(filter: &mut Filter<'_>) -> ResendSelection {
    let subscription = filter.query.some("subscription");
    ResendSelection::Failed { subscription, since: filter.since(), until: filter.until() }
}

fn rate(filter: &mut Filter<'_>) -> Option<f64> {
    let rate = filter.query.number("rate");
    rate.unwrap_or_else(|error: FormError| {
        filter.refuse("rate", &error.reason);
        None
    })
}

async fn preview(
    bus: &Bus,
    selection: ResendSelection,
    rate: Option<f64>,
) -> Result<Shown, BusError> {
    let preview = bus.preview(selection.clone(), rate).await?;
    let first = bus.outbox.chosen_deliveries(selection, LISTED).await?;
    Ok(Shown { preview, first })
}

fn deliveries(number: u64) -> String {
    count(number, "delivery", "deliveries")
}

fn preview_section(now: Now, query: &FormFields, Shown { preview, first }: &Shown) -> Markup {
    let rest = preview.deliveries.saturating_sub(first.len() as u64);
    html! {
        section aria-labelledby="preview" {
            h2 id="preview" { "Preview: " (deliveries(preview.deliveries)) }
            @if preview.deliveries == 0 {
                p.empty { "Nothing was given up there. Waiting deliveries are retried without your help." }
            } @else {
                p { @if preview.seconds >= 1.0 { "It takes " (format!("{:.0}", preview.seconds)) " s." } @else { "They are sent at once." } }
                (listed(now, first))
                @if rest > 0 { p { "and " (rest) " more" } }
                form method="post" action=(HOME) {
                    @for name in FIELDS {
                        @if let Some(value) = query.some(name) { (hidden(name, &value)) }
                    }
                    p.bar { button.primary type="submit" { "Resend " (deliveries(preview.deliveries)) } }
                }
            }
        }
    }
}

fn listed(now: Now, first: &[FoundDelivery]) -> Markup {
    let columns = [
        Column::text("Event"),
        Column::text("Subscription"),
        Column::text("Given up"),
        Column::number("Attempts"),
        Column::text("Last error"),
    ];
    let row = |delivery: &FoundDelivery| {
        vec![
            html! { a href={ "events/" (encoded(&delivery.event)) } { (delivery.event_type) } p.why { (delivery.event) } },
            html! { a href={ "subscriptions/" (encoded(&delivery.subscription)) } { (delivery.subscription) } },
            now.some_ago(delivery.ended_at, "–"),
            html! { (delivery.progress.attempts) },
            html! { (delivery.error.as_deref().unwrap_or("–")) },
        ]
    };
    let rows: Vec<_> = first.iter().map(row).collect();
    Table { name: "Deliveries to resend", columns: &columns, rows: &rows, empty: Markup::default() }
        .markup()
}

fn form(admin: &Admin, query: &FormFields) -> Markup {
    let names = admin.bus.subscription_names();
    html! {
        h2 { "Deliveries that were given up" }
        form method="get" action=(HOME) {
            (hidden("preview", "1"))
            fieldset {
                legend { "Given up" }
                div.fields {
                    (suggested("subscription", "Subscription", "Empty for any.", query.get("subscription"), names.iter().map(String::as_str)))
                    (choice("range", "Time", Some("any"), &RANGES, query.get("range")))
                    (moment("since", "Since (UTC)", query.get("since")))
                    (moment("until", "Until (UTC)", query.get("until")))
                    (text("rate", "Deliveries per second", "Empty for all at once.", query.get("rate")))
                }
                p { button type="submit" { "Preview" } }
            }
        }
    }
}

/// Sends again: a delivery, the delivery of an attempt or of several, all or the failed deliveries of an event, or what
/// was given up in a period; then leads back to the page of the form.
pub(super) async fn send(
    State(admin): AdminState,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
    let sent = resend(&admin, &form).await;
    let said = match sent {
        Ok(0) => alert(
            "Nothing was resent: the delivery is on its way already, or its subscription is gone.",
        ),
        Ok(number) => {
            tracing::info!(deliveries = number, "resent by hand from the Admin pages");
            let due = if number == 1 { "is" } else { "are" };
            html! {
                (note(&format!("{} {due} due again.", deliveries(number))))
                @if let Some(event) = form.some("event").or_else(|| form.some("failed")) {
                    p { a href={ "attempts?event=" (encoded(&event)) "&live=1" } { "Follow its attempts" } }
                } @else {
                    p { a href="attempts?live=1" { "Follow the attempts" } }
                }
            }
        }
        Err(error @ BusError::Unavailable(_)) => return Err(error.into()),
        Err(error) => alert(&sentence(&error.to_string())),
    };
    Ok(page.redirect_with(&admin, back(form.get("back")), said))
}

async fn resend(admin: &Admin, form: &FormFields) -> Result<u64, BusError> {
    let bus = &admin.bus;
    let number = |text: &str| {
        text.parse().map_err(|_| {
            BusError::Invalid(format!("{text:?} is the number of nothing that can be resent"))
        })
    };
    if let Some(delivery) = form.some("delivery") {
        return bus.resend_deliveries(vec![number(&delivery)?]).await;
    }
    if let Some(attempt) = form.some("attempt") {
        return bus.resend(ResendSelection::Attempt(number(&attempt)?), None).await;
    }
    if let Some(event) = form.some("event") {
        return bus.resend(ResendSelection::Event(event), None).await;
    }
    if let Some(event) = form.some("failed") {
        let event = bus.event(&event).await?.event.number;
        let deliveries = bus.outbox.deliveries_of(event).await?;
        let failed = deliveries.iter().filter(|delivery| delivery.progress.state == "given_up");
        return bus.resend_deliveries(failed.map(|delivery| delivery.id).collect()).await;
    }
    let selected = form.all("id").take(SELECTED).map(number).collect::<Result<Vec<_>, _>>()?;
    if !selected.is_empty() {
        let deliveries = bus.outbox.deliveries_of_attempts(selected).await?;
        return bus.resend_deliveries(deliveries).await;
    }
    if form.some("back").is_some() {
        return Err(BusError::Invalid("select at least one attempt".into()));
    }
    let mut filter = Filter::new(form, bus.now());
    let (selection, rate) = (failed(&mut filter), rate(&mut filter));
    match filter.errors.into_iter().next() {
        Some(error) => Err(BusError::Invalid(error.reason)),
        None => bus.resend(selection, rate).await,
    }
}

/// The page of the site that a form leads back to; the resend page for anything else.
fn back(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let first = path.split('/').next().unwrap_or_default();
    let is_ours = SITE.tabs.iter().any(|tab| tab.href == first);
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_below = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_ours && is_plain && is_below { address } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_a_page_of_the_site_alone() {
        for address in ["attempts", "attempts/7", "events/a%2Fb", "events?q=a%2F..&live=1"] {
            assert_eq!(back(address), address);
        }
        for address in [
            "",
            "/evil.test",
            "//evil.test",
            "https://evil.test",
            "events/../../x",
            "events//x",
            "events\\x",
            "events/\r\nx",
            "../swagger/",
        ] {
            assert_eq!(back(address), HOME, "{address:?}");
        }
    }
}
