//! The OpenAPI document, built from the catalog: what the receiver takes, and what the emitter sends.

mod operations;
mod shared;

use std::sync::Arc;

use utoipa::openapi::{
    Components, Info, License, OpenApi, OpenApiBuilder, PathItem, Paths, PathsBuilder, Tag,
};

use crate::catalog::{Catalog, Row};
use crate::event::{Dialect, Environment};
use crate::source::{Auth, SECRET_SEGMENT, Source, versioned};

/// The version that a path without one stands for.
const FIRST: u16 = 1;

const ABOUT: &str = "\
Receives webhooks: authenticates them, drops duplicates, keeps them durably, answers, and hands each one to its handler.

Press **Authorize**, enter the bearer key of a source, open an event and press **Execute**. \
Executed again with the same message id, the same request is answered `duplicate`.";

/// Two different schemas under one name. OpenAPI knows types by name only, so one would silently replace the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "two types are both called `{schema}` in the OpenAPI document: one of {first} and one of {second}; rename one with #[schema(as = …)]"
)]
pub struct SchemaClash {
    /// The name that both have.
    pub schema: String,
    /// Where the first is used.
    pub first: String,
    /// Where the second is used.
    pub second: String,
}

/// Describes every event of the catalog under the paths of every source. Nothing of it is secret.
///
/// # Errors
/// [`SchemaClash`] if two types share a name.
pub fn document<C: 'static>(
    catalog: &Catalog<C>,
    sources: &[Arc<Source>],
) -> Result<OpenApi, SchemaClash> {
    let sites: Vec<Site> = sources.iter().map(|source| Site::new(source, sources.len())).collect();
    Ok(OpenApiBuilder::new()
        .info(info())
        .tags(Some(tags(catalog, &sites)))
        .paths(paths(catalog, &sites))
        .webhooks(Some(webhooks(catalog)))
        .components(Some(components(catalog, sources)?))
        .build())
}

/// The source of a configuration that sets nothing but a key; the committed document describes it.
pub fn default_source() -> Arc<Source> {
    Arc::new(Source {
        name: "directscale".into(),
        dialect: Dialect::DirectScale,
        environment: Environment::Live,
        path: "/api/webhooks".into(),
        accepted_status: 200,
        client_ids: Vec::new(),
        auth: Auth::Bearer(Vec::new()),
    })
}

/// A source as the document shows it.
struct Site<'a> {
    source: &'a Source,
    /// Its path, without what is secret in it.
    path: String,
    /// The path parameters that stand for the secret segments.
    keys: Vec<String>,
    /// Whether it has to be told apart from other sources.
    named: bool,
}

impl<'a> Site<'a> {
    fn new(source: &'a Source, sources: usize) -> Self {
        let mut keys = Vec::new();
        let mut public = |segment: &str| {
            if matches!(source.auth, Auth::Bearer(_)) || segment.len() < SECRET_SEGMENT {
                return segment.to_owned();
            }
            keys.push(format!("key{}", keys.len() + 1));
            format!("{{key{}}}", keys.len())
        };
        let segments: Vec<String> = source.path.split('/').map(&mut public).collect();
        Site { source, path: segments.join("/"), keys, named: sources > 1 }
    }

    /// A tag of this source.
    fn tag(&self, tag: &str) -> String {
        if self.named { format!("{}: {tag}", self.source.name) } else { tag.to_owned() }
    }

    fn rows<C: 'static>(&self, catalog: &'a Catalog<C>) -> impl Iterator<Item = &'a Row<C>> {
        catalog.iter().filter(|row| row.dialect == self.source.dialect)
    }
}

fn info() -> Info {
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    let mut info = Info::new("Webhook receiver", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.into());
    info.license = Some(license);
    info
}

/// One tag for each family of events of each source, in the order of the catalog.
fn tags<C: 'static>(catalog: &Catalog<C>, sites: &[Site<'_>]) -> Vec<Tag> {
    let mut names: Vec<String> = Vec::new();
    for site in sites {
        let families = site.rows(catalog).map(|row| site.tag(&family(row)));
        for name in families.chain([site.tag(operations::ANY)]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.extend([operations::SENT, operations::OPERATION].map(str::to_owned));
    names.iter().map(Tag::new).collect()
}

fn paths<C: 'static>(catalog: &Catalog<C>, sites: &[Site<'_>]) -> Paths {
    let mut paths = PathsBuilder::new();
    for site in sites {
        for (path, item) in site_paths(catalog, site) {
            paths = paths.path(path, item);
        }
    }
    for (path, item) in operations::of_the_receiver() {
        paths = paths.path(path, item);
    }
    paths.build()
}

/// Each event by its name; the single URL; and both once more for the first version, as a template.
fn site_paths<C: 'static>(catalog: &Catalog<C>, site: &Site<'_>) -> Vec<(String, PathItem)> {
    let twin = versioned(&site.path, FIRST);
    let event = |row: &Row<C>| {
        let base = if row.version == FIRST {
            site.path.clone()
        } else {
            versioned(&site.path, row.version)
        };
        (format!("{base}/{}", row.name), operations::receive(site, row))
    };
    let mut paths: Vec<(String, PathItem)> = site.rows(catalog).map(event).collect();
    let names: Vec<&str> =
        site.rows(catalog).filter(|row| row.version == FIRST).map(|row| row.name).collect();
    paths.push((site.path.clone(), operations::receive_any(site)));
    paths.push((twin.clone(), operations::receive_any_of(site, FIRST)));
    paths.push((format!("{twin}/{{event}}"), operations::receive_named(site, FIRST, &names)));
    paths
}

fn webhooks<C: 'static>(catalog: &Catalog<C>) -> Paths {
    let webhooks = PathsBuilder::new();
    catalog
        .iter()
        .fold(webhooks, |webhooks, row| webhooks.path(shared::name(row), operations::send(row)))
        .build()
}

fn components<C: 'static>(
    catalog: &Catalog<C>,
    sources: &[Arc<Source>],
) -> Result<Components, SchemaClash> {
    let mut components = Components::new();
    components.schemas = shared::schemas(catalog)?;
    components.parameters = shared::parameters();
    components.request_bodies = shared::bodies(catalog);
    components.responses = shared::responses();
    for source in sources.iter().filter(|source| matches!(source.auth, Auth::Bearer(_))) {
        components.add_security_scheme(&source.name, shared::bearer(source));
    }
    Ok(components)
}

/// The events that belong together: those whose handlers share a file under `handlers/`, else a whole dialect's.
fn family<C>(row: &Row<C>) -> String {
    let file = row.handler.split_once("::handlers::").and_then(|(_, rest)| rest.split_once("::"));
    file.map_or(row.dialect.as_str(), |(file, _)| file).replace('_', " ")
}
