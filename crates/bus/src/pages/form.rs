//! The pages on which a subscription is made and changed.

use ::pages::{FormError, FormFields, errors, note};
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::definition::{self, Control, Generated, control, shown_once};
use super::request::{FormRequest, PageRequest};
use super::subscriptions::{HOME, address};
use super::{Admin, AdminState, PageResult, status};
use crate::{BusError, Overview};

pub(super) async fn new(State(admin): AdminState, request: PageRequest) -> Response {
    Shown { admin: &admin, request: &request, overview: None, wrong: &[] }
        .page(&definition::blank(), StatusCode::OK)
}

pub(super) async fn create(
    State(admin): AdminState,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
    save(&admin, &page, &form, None).await
}

pub(super) async fn edit(
    State(admin): AdminState,
    Path(name): Path<String>,
    request: PageRequest,
) -> PageResult {
    let overview = admin.bus.subscription(&name).await?;
    if overview.is_declared {
        return Err(BusError::Conflict(format!(
            "{name} is declared in the settings; change it there"
        ))
        .into());
    }
    let form = definition::form_of(&overview.subscription);
    let shown = Shown { admin: &admin, request: &request, overview: Some(&overview), wrong: &[] };
    Ok(shown.page(&form, StatusCode::OK))
}

pub(super) async fn change(
    State(admin): AdminState,
    Path(name): Path<String>,
    FormRequest { page, form }: FormRequest,
) -> PageResult {
    let overview = admin.bus.subscription(&name).await?;
    save(&admin, &page, &form, Some(&overview)).await
}

/// Saves a new subscription, or the changes of one; what is wrong leads back to the form with everything that was typed
/// but secrets.
async fn save(
    admin: &Admin,
    page: &PageRequest,
    form: &FormFields,
    overview: Option<&Overview>,
) -> PageResult {
    let wrong = definition::errors(form, overview.is_none());
    if !wrong.is_empty() {
        let shown = Shown { admin, request: page, overview, wrong: &wrong };
        return Ok(shown.page(form, StatusCode::UNPROCESSABLE_ENTITY));
    }
    match saved(admin, form, overview).await {
        Ok((name, keys)) => {
            let done = if overview.is_some() { "changed" } else { "created" };
            let said = html! {
                (note(&format!("The subscription {name} is {done}.")))
                (shown_once(&keys))
            };
            Ok(page.redirect_with(admin, &address(&name), said))
        }
        Err(error @ (BusError::Unavailable(_) | BusError::Missing(_))) => Err(error.into()),
        Err(error) => {
            let wrong = [definition::of_bus(&error.to_string())];
            let shown = Shown { admin, request: page, overview, wrong: &wrong };
            Ok(shown.page(form, status(&error)))
        }
    }
}

async fn saved(
    admin: &Admin,
    form: &FormFields,
    overview: Option<&Overview>,
) -> Result<(String, Vec<Generated>), BusError> {
    let mut form = form.clone();
    let keys = definition::generate_keys(&mut form)?;
    let saved = match overview {
        Some(Overview { subscription, .. }) => {
            let patch = definition::change(&form, subscription);
            admin.bus.change(&subscription.name, &patch).await?
        }
        None => admin.bus.create(form.get("name"), &definition::whole(&form)).await?,
    };
    Ok((saved.subscription.name, keys))
}

/// The page of a form, for a new subscription or one that there is.
struct Shown<'s> {
    admin: &'s Admin,
    request: &'s PageRequest,
    overview: Option<&'s Overview>,
    wrong: &'s [FormError],
}

impl Shown<'_> {
    fn page(&self, form: &FormFields, status: StatusCode) -> Response {
        let view = self.overview.map(|overview| &overview.subscription);
        let (action, back, title) = match view {
            Some(view) => (
                format!("{}/edit", address(&view.name)),
                address(&view.name),
                format!("Change {}", view.name),
            ),
            None => (HOME.to_owned(), HOME.to_owned(), "New subscription".to_owned()),
        };
        let title = if self.wrong.is_empty() { title } else { format!("Not saved yet: {title}") };
        let content = html! {
            (errors(self.wrong, self.request.here()))
            form method="post" action=(action) {
                @if view.is_none() {
                    fieldset {
                        legend { "Name" }
                        (control(form, self.wrong, "name", "Name", "Letters, digits and - . _; it cannot be changed later.", Control::Line { is_required: true }))
                    }
                }
                (definition::inputs(form, view, self.wrong, self.admin.bus.types()))
                p.bar {
                    button.primary type="submit" { "Save" }
                    a.button href=(back) { "Cancel" }
                }
            }
        };
        self.request.page(HOME, &title).with_status(status, content)
    }
}
