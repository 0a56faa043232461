//! Source as described in the OpenAPI document.

use contract::catalog::{EventRow, Table};
use source::{Source, is_secret};

/// Version of a path without a version.
pub(super) const FIRST: u16 = 1;

/// Source as described in the document.
pub(super) struct DescribedSource<'a> {
    pub(super) source: &'a Source,
    /// Its path, with secret segments replaced by parameters.
    pub(super) path: String,
    /// Path parameters that replace the secret segments.
    pub(super) keys: Vec<String>,
    /// True if there are other sources, so that tags need its name.
    pub(super) named: bool,
}

impl<'a> DescribedSource<'a> {
    pub(super) fn new(source: &'a Source, sources: usize) -> Self {
        let mut keys = Vec::new();
        let mut public = |segment: &str| {
            if !source.auth.is_none() || !is_secret(segment) {
                return segment.to_owned();
            }
            keys.push(format!("key{}", keys.len() + 1));
            format!("{{key{}}}", keys.len())
        };
        let segments: Vec<String> = source.path.split('/').map(&mut public).collect();
        DescribedSource { source, path: segments.join("/"), keys, named: sources > 1 }
    }

    /// Tag of this source.
    pub(super) fn tag(&self, tag: &str) -> String {
        if self.named { format!("{}: {tag}", self.source.name) } else { tag.to_owned() }
    }

    pub(super) fn rows(&self, catalog: &'a Table) -> impl Iterator<Item = &'a EventRow> {
        catalog.events().filter(|row| row.dialect == self.source.dialect)
    }
}

/// Family of an event: the module of its handler; the dialect if it is in none.
pub(super) fn family(row: &EventRow) -> String {
    let path = row.handler.split_once('<').map_or(row.handler, |(path, _)| path);
    let segments: Vec<&str> = path.split("::").collect();
    let family = match segments[..] {
        [_, .., module, _] if segments.len() > 2 => module,
        _ => row.dialect.as_str(),
    };
    family.replace('_', " ")
}
