//! OpenAPI document, built from the catalog: the receiver's operations and the emitter's webhooks.

mod components;
mod described_source;
mod hooks;
mod operations;

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::catalog::{EventRow, Table, segment};
use contract::event::Dialect;
use source::{
    AcceptedKey, Auth, CallbackApi, FieldLocators, HookRoute, Recording, Source, Unhandled,
    versioned,
};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{
    Components, Info, License, OpenApi, OpenApiBuilder, PathItem, Paths, PathsBuilder, Tag,
};

use described_source::{DescribedSource, FIRST, family};

pub use components::SchemaClash;

/// Version of the API, not of the program; paths may contain it.
const VERSION: &str = "1";

/// Member of a committed document's `info` with the version of the engine.
const ENGINE: &str = "x-engine";

const ABOUT: &str = "\
Receives webhooks: authenticates them, drops duplicates, stores them durably, answers, and passes each one to its handler.

Press **Authorize**, enter the bearer key of a source, open an event and press **Execute**. \
Executed again, the same request is answered `duplicate`: change the message id to send another event.";

/// Describes every event of the catalog under the paths of every source, and every hook under those of every hook route.
/// The document contains no secrets.
///
/// # Errors
/// [`SchemaClash`] if two types share a name.
pub fn document(
    catalog: &Table,
    sources: &[Arc<Source>],
    hooks: &[Arc<HookRoute>],
) -> Result<OpenApi, SchemaClash> {
    let described: Vec<DescribedSource> =
        sources.iter().map(|source| DescribedSource::new(source, sources.len())).collect();
    let mut document = OpenApiBuilder::new()
        .info(info())
        .tags(Some(tags(catalog, &described, hooks)))
        .paths(paths(catalog, &described, hooks))
        .webhooks(Some(webhooks(catalog, sources)))
        .components(Some(components(catalog, sources, hooks)?))
        .build();
    server::openapi::finish(&mut document);
    Ok(document)
}

/// Describes the catalog for a source and a hook route of the shortest settings: the document that a fork commits, as JSON.
/// It names the version of the engine, whose texts it contains.
///
/// # Errors
/// If two types share a name.
pub fn committed(catalog: &Table) -> anyhow::Result<String> {
    let mut document = document(catalog, &[default_source()], &[default_hooks()?])?;
    document.info.extensions =
        Some(Extensions::builder().add(ENGINE, env!("CARGO_PKG_VERSION")).build());
    Ok(document.to_pretty_json()?)
}

/// True if the document is what [`committed`] makes, or if another version of the engine made it.
///
/// # Errors
/// If two types share a name, or `document` is not JSON.
pub fn is_current(document: &str, catalog: &Table) -> anyhow::Result<bool> {
    let document: serde_json::Value = serde_json::from_str(document)?;
    let current: serde_json::Value = serde_json::from_str(&committed(catalog)?)?;
    let engine = |document: &serde_json::Value| document["info"][ENGINE].clone();
    Ok(document == current || engine(&document) != engine(&current))
}

/// Source of the shortest settings, which set only a key.
fn default_source() -> Arc<Source> {
    let auth = Auth::bearer([AcceptedKey::bearer(&"key".into())]);
    Arc::new(Source::new("directscale", Dialect::DirectScale, "/api/webhooks", auth))
}

/// Hook route of the default source, with a callback URL.
fn default_hooks() -> anyhow::Result<Arc<HookRoute>> {
    let base = "https://example.corpadmin.directscale.com".parse()?;
    Ok(Arc::new(HookRoute {
        source: default_source(),
        path: "/api/hooks".into(),
        deadline: std::time::Duration::from_secs(20),
        concurrency: 256,
        unhandled: Unhandled::PassThrough,
        recording: Recording::default(),
        pages: None,
        api: Some(Arc::new(CallbackApi::new(base, &"key".into())?)),
    }))
}

fn info() -> Info {
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    let mut info = Info::new("Webhook receiver", VERSION);
    info.description = Some(ABOUT.into());
    info.license = Some(license);
    info
}

/// One tag for each family of events of each source, in the order of the catalog.
fn tags(catalog: &Table, described: &[DescribedSource<'_>], hooks: &[Arc<HookRoute>]) -> Vec<Tag> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for source in described {
        let mut families: Vec<(String, Vec<&str>)> = Vec::new();
        for row in source.rows(catalog) {
            let tag = source.tag(&family(row));
            match families.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, names)) if names.contains(&row.name) => {}
                Some((_, names)) => names.push(row.name),
                None => families.push((tag, vec![row.name])),
            }
        }
        let delivered = |names: &[&str]| format!("Deliveries of {}.", names.join(", "));
        tags.extend(families.iter().map(|(tag, names)| (tag.clone(), delivered(names))));
        tags.push((source.tag(operations::ANY), operations::ABOUT_ANY.into()));
    }
    tags.extend(hooks.iter().map(|route| (hook_tag(route, hooks.len()), hooks::ABOUT.into())));
    tags.push((operations::SENT.into(), operations::ABOUT_SENT.into()));
    tags.push((operations::HEALTH.into(), operations::ABOUT_HEALTH.into()));
    let mut names = BTreeSet::new();
    tags.retain(|(name, _)| names.insert(name.clone()));
    let tag = |(name, description)| {
        let mut tag = Tag::new(name);
        tag.description = Some(description);
        tag
    };
    tags.into_iter().map(tag).collect()
}

/// Tag of a hook route, with the source's name if there are several.
fn hook_tag(route: &HookRoute, routes: usize) -> String {
    if routes > 1 {
        format!("{}: {}", route.source.name, hooks::HOOKS)
    } else {
        hooks::HOOKS.into()
    }
}

fn paths(catalog: &Table, described: &[DescribedSource<'_>], hooks: &[Arc<HookRoute>]) -> Paths {
    let mut paths = PathsBuilder::new();
    for route in hooks {
        for (path, item) in hooks::paths(catalog, route, &hook_tag(route, hooks.len())) {
            paths = paths.path(path, item);
        }
    }
    for source in described {
        for (path, item) in source_paths(catalog, source) {
            paths = paths.path(path, item);
        }
    }
    for (path, item) in operations::of_the_receiver() {
        paths = paths.path(path, item);
    }
    paths.build()
}

/// Paths of a source: one for each event, the single URL, and both as a template for the first version.
fn source_paths(catalog: &Table, source: &DescribedSource<'_>) -> Vec<(String, PathItem)> {
    let mut paths: Vec<_> = source.rows(catalog).map(|row| event_path(source, row)).collect();
    if !paths.is_empty() {
        paths.push((source.path.clone(), operations::receive_any(source)));
    }
    let first = source.rows(catalog).filter(|row| row.version == FIRST);
    let names: Vec<&str> = first.map(|row| row.name).collect();
    if !names.is_empty() {
        let twin = versioned(&source.path, FIRST);
        let named = operations::receive_named(source, FIRST, &names);
        paths.push((format!("{twin}/{{event}}"), named));
        paths.push((twin, operations::receive_any_of(source, FIRST)));
    }
    paths
}

fn event_path(source: &DescribedSource<'_>, row: &EventRow) -> (String, PathItem) {
    let base = match row.version {
        FIRST => source.path.clone(),
        later => versioned(&source.path, later),
    };
    (format!("{base}/{}", segment(row.name)), operations::receive(source, row))
}

fn webhooks(catalog: &Table, sources: &[Arc<Source>]) -> Paths {
    let webhooks = PathsBuilder::new();
    let key_of = |row: &EventRow| {
        let takes =
            |source: &&Arc<Source>| source.dialect == row.dialect && !source.auth.bearer.is_empty();
        sources.iter().find(takes).map(|source| source.name.as_str())
    };
    let send = |webhooks: PathsBuilder, row| {
        webhooks.path(components::name(row), operations::send(row, key_of(row)))
    };
    catalog.events().fold(webhooks, send).build()
}

fn components(
    catalog: &Table,
    sources: &[Arc<Source>],
    hooks: &[Arc<HookRoute>],
) -> Result<Components, SchemaClash> {
    let mut components = Components::new();
    components.schemas = components::schemas(catalog, !hooks.is_empty())?;
    let dialects: Vec<FieldLocators> =
        catalog.events().map(|row| FieldLocators::of(row.dialect)).collect();
    let configured = sources.iter().map(|source| &source.locators);
    components.parameters = components::parameters(dialects.iter().chain(configured));
    components.request_bodies = components::bodies(catalog);
    components.responses = components::responses();
    for source in sources.iter().filter(|source| !source.auth.bearer.is_empty()) {
        components.add_security_scheme(&source.name, components::bearer(source));
    }
    components.add_security_scheme(operations::LOGIN, components::login());
    Ok(components)
}

#[cfg(test)]
mod tests {
    use contract::catalog::Catalog;
    use contract::event::{Delivery, Event, Outcome};
    use serde::Deserialize;
    use serde_json::Value;
    use utoipa::ToSchema;
    use vendors::github::Push;

    use super::*;

    /// It rings. Twice.
    #[derive(Deserialize, ToSchema)]
    struct Ring {}

    impl Event for Ring {
        const TYPE: &'static str = "RingEvent";

        fn example() -> &'static str {
            "{}"
        }
    }

    /// It rings louder.
    #[derive(Deserialize, ToSchema)]
    struct LoudRing {}

    impl Event for LoudRing {
        const TYPE: &'static str = "RingEvent";
        const VERSION: u16 = 2;

        fn example() -> &'static str {
            "{}"
        }
    }

    mod other {
        /// Another model under the same name.
        #[derive(serde::Deserialize, utoipa::ToSchema)]
        pub(super) struct Ring {}
    }

    impl Event for other::Ring {
        const TYPE: &'static str = "OtherEvent";

        fn example() -> &'static str {
            "{}"
        }
    }

    /// It happened.
    #[derive(Deserialize, ToSchema)]
    struct Happened {}

    impl Event for Happened {
        const TYPE: &'static str = "a/b";
        const DIALECT: Dialect = Dialect::CloudEvents;

        fn example() -> &'static str {
            "{}"
        }
    }

    async fn happened(_: (), _: Delivery<Happened>) -> Outcome {
        Ok(())
    }

    async fn ring(_: (), _: Delivery<Ring>) -> Outcome {
        Ok(())
    }

    async fn loud_ring(_: (), _: Delivery<LoudRing>) -> Outcome {
        Ok(())
    }

    async fn other_ring(_: (), _: Delivery<other::Ring>) -> Outcome {
        Ok(())
    }

    fn source(name: &str, path: &str, auth: Auth) -> Arc<Source> {
        let Some(source) = Arc::into_inner(default_source()) else { unreachable!() };
        Arc::new(Source { name: name.into(), path: path.into(), auth, ..source })
    }

    /// The default source with another dialect.
    fn speaking(dialect: Dialect) -> Arc<Source> {
        let Some(source) = Arc::into_inner(default_source()) else { unreachable!() };
        Arc::new(Source { dialect, locators: FieldLocators::of(dialect), ..source })
    }

    /// Headers of an operation: name, required or not, and sample.
    fn headers(document: &Value, path: &str) -> Vec<(String, bool, Value)> {
        let parameters = document["paths"][path]["post"]["parameters"].as_array().unwrap();
        let resolved = parameters.iter().map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap(),
            None => parameter,
        });
        let headers = resolved.filter(|parameter| parameter["in"] == "header");
        headers
            .map(|p| {
                let name = p["name"].as_str().unwrap().to_owned();
                (name, p["required"] == true, p["example"].clone())
            })
            .collect()
    }

    fn json(catalog: &Table, sources: &[Arc<Source>]) -> Value {
        serde_json::to_value(document(catalog, sources, &[]).unwrap()).unwrap()
    }

    fn paths(document: &Value) -> Vec<&str> {
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn bearer() -> Auth {
        Auth::bearer([AcceptedKey::bearer(&"key".into())])
    }

    #[test]
    fn a_committed_document_is_compared_if_this_version_made_it() {
        let table = Catalog::<()>::new().on(ring).table().unwrap();
        let document = committed(&table).unwrap();
        let edited = document.replace("Webhook receiver", "Other receiver");
        let older = edited.replace(env!("CARGO_PKG_VERSION"), "0.0.1");
        assert!(is_current(&document, &table).unwrap());
        assert!(!is_current(&edited, &table).unwrap());
        assert!(is_current(&older, &table).unwrap());
        assert!(is_current("", &table).is_err());
    }

    #[test]
    fn the_version_comes_after_the_first_api() {
        assert_eq!(versioned("/api/webhooks", 1), "/api/v1/webhooks");
        assert_eq!(versioned("/stage/api/hooks/api", 2), "/stage/api/v2/hooks/api");
        assert_eq!(versioned("/apis/in", 1), "/apis/in/v1");
    }

    #[test]
    fn the_first_version_has_the_short_path_and_a_later_one_only_its_own() {
        let document = json(
            &Catalog::<()>::new().on(ring).on(loud_ring).table().unwrap(),
            &[default_source()],
        );
        let events: Vec<_> = paths(&document).into_iter().filter(|p| p.contains("Ring")).collect();
        assert_eq!(events, ["/api/v2/webhooks/RingEvent", "/api/webhooks/RingEvent"]);
        let twin = &document["paths"]["/api/v1/webhooks/{event}"]["post"]["parameters"][0];
        assert_eq!(twin["schema"]["enum"], serde_json::json!(["RingEvent"]));
        assert!(document["webhooks"]["directscale_RingEvent_v2"].is_object());
    }

    #[test]
    fn what_has_no_events_has_no_paths() {
        let document = json(&Catalog::<()>::new().table().unwrap(), &[default_source()]);
        assert_eq!(paths(&document), ["/healthz", "/metrics", "/readyz"]);
        let document =
            json(&Catalog::<()>::new().on(loud_ring).table().unwrap(), &[default_source()]);
        assert_eq!(document["paths"]["/api/v1/webhooks"], Value::Null);
    }

    #[test]
    fn the_doc_comment_describes_the_event() {
        let document = json(&Catalog::<()>::new().on(ring).table().unwrap(), &[default_source()]);
        let operation = &document["paths"]["/api/webhooks/RingEvent"]["post"];
        assert_eq!(operation["summary"], "It rings");
        assert_eq!(operation["description"], "It rings. Twice.");
    }

    #[test]
    fn each_source_has_its_paths_and_its_key() {
        let live = source("live", "/api/webhooks", bearer());
        let stage = source("stage", "/stage", bearer());
        let document = json(&Catalog::<()>::new().on(ring).table().unwrap(), &[live, stage]);
        let operation = &document["paths"]["/stage/RingEvent"]["post"];
        assert_eq!(operation["security"], serde_json::json!([{"stage": []}]));
        assert_eq!(operation["tags"][0], "stage: tests");
        assert!(document["paths"]["/stage/v1/{event}"].is_object());
        assert!(document["components"]["securitySchemes"]["live"].is_object());
    }

    #[test]
    fn a_secret_path_is_not_written_down() {
        let secret = "h7Yq2LwPz0x9KcVbN4mRt6";
        let open = source("open", &format!("/api/{secret}/in"), Auth::default());
        let document = json(&Catalog::<()>::new().on(ring).table().unwrap(), &[open]);
        assert!(!document.to_string().contains(secret));
        let operation = &document["paths"]["/api/{key1}/in/RingEvent"]["post"];
        assert_eq!(operation["parameters"][0]["name"], "key1");
        assert_eq!(operation["security"], serde_json::json!([]));
    }

    #[test]
    fn a_source_has_the_events_and_headers_of_its_dialect() {
        async fn pushed(_: (), _: Delivery<Push>) -> Outcome {
            Ok(())
        }
        let catalog = Catalog::<()>::new().on(ring).on(pushed).on(happened).table().unwrap();
        let text = |text: &str| Value::from(text);
        let github = json(&catalog, &[speaking(Dialect::GitHub)]);
        assert!(github["paths"]["/api/webhooks/RingEvent"].is_null());
        let expected = [
            ("X-GitHub-Delivery".to_owned(), false, text("push-1")),
            ("X-GitHub-Event".to_owned(), false, text("push")),
        ];
        assert_eq!(headers(&github, "/api/webhooks/push"), expected);
        assert!(github["webhooks"]["directscale_RingEvent"].is_object());
        let events = json(&catalog, &[speaking(Dialect::CloudEvents)]);
        let required: Vec<String> = headers(&events, "/api/webhooks/a%2Fb")
            .into_iter()
            .filter_map(|(name, required, sample)| (required && !sample.is_null()).then_some(name))
            .collect();
        assert_eq!(required, ["ce-id", "ce-type", "ce-source", "ce-specversion"]);
        assert!(events["components"]["requestBodies"]["cloudevents_a.b"].is_object());
    }

    #[test]
    fn two_types_of_one_name_are_refused_with_both_handlers() {
        let catalog = Catalog::<()>::new().on(ring).on(other_ring).table().unwrap();
        let clash = document(&catalog, &[default_source()], &[]).err().unwrap();
        assert_eq!(clash.schema, "Ring");
        assert!(
            clash.first.contains("::ring)") && clash.second.contains("::other_ring)"),
            "{clash}"
        );
    }
}
