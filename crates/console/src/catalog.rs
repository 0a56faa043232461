//! The catalog: every event and hook that the program knows, with its handler.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use pages::{Column, Table, Tone, chip, facts, json as json_view};
use serde::Serialize;
use serde_json::json;

use crate::visit::{Failure, Visit, answer};
use crate::{Console, ConsoleState};

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console/catalog", get(list))
        .route("/console/catalog/{dialect}/{version}/{event}", get(show))
}

/// An event, as JSON.
#[derive(Serialize)]
struct EventView {
    event: &'static str,
    dialect: &'static str,
    version: u16,
    aliases: &'static [&'static str],
    entity: Option<&'static str>,
    handler: &'static str,
}

/// A hook, as JSON.
#[derive(Serialize)]
struct HookView {
    hook: &'static str,
    handler: Option<&'static str>,
}

async fn list(State(console): ConsoleState, visit: Visit) -> Response {
    let table = &console.parts.table;
    let events: Vec<EventView> = table
        .events()
        .map(|row| EventView {
            event: row.name,
            dialect: row.dialect.as_str(),
            version: row.version,
            aliases: row.aliases,
            entity: row.entity,
            handler: row.handler,
        })
        .collect();
    let hooks: Vec<HookView> =
        table.hooks().map(|row| HookView { hook: row.id, handler: row.handler }).collect();
    let content = || {
        html! {
            h2 { "Events" }
            (event_table(&events))
            h2 { "Hooks" }
            (hook_table(&hooks))
            p.hint { "Try them in Swagger, or with " code { "webhook-receiver emit" } "." }
        }
    };
    let data = json!({ "events": events, "hooks": hooks });
    visit.list(&console, ("catalog", "Catalog"), (&data, &events), content).await
}

fn event_table(events: &[EventView]) -> Markup {
    let columns = [
        Column::text("Event"),
        Column::text("Sender"),
        Column::number("Version"),
        Column::text("Handler"),
        Column::text("Order"),
        Column::text("Deliveries"),
    ];
    let rows: Vec<Vec<Markup>> = events
        .iter()
        .map(|row| vec![
            html! { a href={ "catalog/" (row.dialect) "/" (row.version) "/" (pages::encoded(row.event)) } { (row.event) } @for alias in row.aliases { p.why { "also " (alias) } } },
            html! { (row.dialect) },
            html! { (row.version) },
            html! { code { (row.handler) } },
            html! { @match row.entity { Some(entity) => { "by " code { (entity) } }, None => "none" } },
            html! { a href={ "deliveries?event=" (pages::encoded(row.event)) } { "look" } },
        ])
        .collect();
    let empty = html! { p { "The catalog has no event: add one in " code { "src/handlers" } "." } };
    Table { name: "Events", columns: &columns, rows: &rows, empty }.markup()
}

fn hook_table(hooks: &[HookView]) -> Markup {
    let columns = [Column::text("Hook"), Column::text("Handler"), Column::text("Calls")];
    let rows: Vec<Vec<Markup>> = hooks
        .iter()
        .map(|row| vec![
            html! { (row.hook) },
            html! { @match row.handler { Some(handler) => code { (handler) }, None => (chip(Tone::Plain, "the vendor's own logic")) } },
            html! { a href={ "hooks?hook=" (pages::encoded(row.hook)) } { "look" } },
        ])
        .collect();
    Table {
        name: "Hooks",
        columns: &columns,
        rows: &rows,
        empty: html! { p { "The catalog has no hook." } },
    }
    .markup()
}

async fn show(
    State(console): ConsoleState,
    visit: Visit,
    Path((dialect, version, event)): Path<(String, u16, String)>,
) -> Response {
    let shown = async {
        let known = |row: &&contract::catalog::EventRow| {
            row.dialect.as_str() == dialect && row.version == version && row.name == event
        };
        let row = console.parts.table.events().find(known);
        let row =
            row.ok_or_else(|| Failure::Missing("There is no such event in the catalog.".into()))?;
        let (_, schema) = (row.schema)();
        let schema = serde_json::to_value(schema).unwrap_or_default();
        let data = json!({ "event": row.name, "handler": row.handler, "example": row.example, "schema": schema });
        let content = || {
            html! {
                (facts(&[
                    ("Sender", html! { (row.dialect.as_str()) }),
                    ("Version", html! { (row.version) }),
                    ("Handler", html! { code { (row.handler) } }),
                    ("Order", html! { @match row.entity { Some(entity) => { "one after the other for each " code { (entity) } }, None => "none" } }),
                    ("Send one", pages::copyable(&format!("webhook-receiver emit {}", row.name))),
                ]))
                div.columns {
                    section { h2 { "Sample" } (view(row.example)) }
                    section { h2 { "Schema" } (view(&schema.to_string())) }
                }
                p.bar { a.button href={ "deliveries?event=" (pages::encoded(row.name)) } { "Its deliveries" } }
            }
        };
        Ok(visit.show(&console, ("catalog", row.name), &data, content).await)
    };
    answer(&console, &visit, shown).await
}

fn view(text: &str) -> Markup {
    json_view(text, "").map_or_else(|| html! { pre { (text) } }, |json| json.markup)
}
