//! The fork's part of the program, as `main` takes it and as the commands see it.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use contract::catalog::{Catalog, Clash, Table};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use receiver::serve::Fork;

type Connect<C> = Box<dyn FnOnce() -> BoxFuture<'static, anyhow::Result<C>> + Send>;
type Pages<C> = Box<dyn FnOnce(C) -> Router + Send>;

/// A fork: its handlers, what they are given, and its pages.
pub struct App<C> {
    catalog: Catalog<C>,
    connect: Connect<C>,
    pages: Pages<C>,
}

impl<C: Clone + Send + Sync + 'static> App<C> {
    /// A fork with these handlers. `connect` makes their context, once, before anything is received; if it fails, the
    /// receiver does not start. Commands that receive nothing do not call it.
    pub fn new<F>(catalog: Catalog<C>, connect: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = anyhow::Result<C>> + Send + 'static,
    {
        App { catalog, connect: Box::new(|| connect().boxed()), pages: Box::new(|_| Router::new()) }
    }

    /// Adds pages that a vendor shows in a frame, below the path that `pages` of a source's hooks gives them.
    #[must_use]
    pub fn pages(self, pages: impl FnOnce(C) -> Router + Send + 'static) -> Self {
        App { pages: Box::new(pages), ..self }
    }

    /// The same with the context's type forgotten.
    pub(crate) fn bound(self) -> Program {
        let table = self.catalog.table();
        let start = async move || {
            let context = (self.connect)().await?;
            let handlers = self.catalog.bind(&context)?;
            Ok(Fork { handlers, pages: (self.pages)(context) })
        };
        Program { table, start: Box::new(|| start().boxed()) }
    }
}

/// What the commands know of a fork.
pub(crate) struct Program {
    table: Result<Arc<Table>, Clash>,
    start: Connect<Fork>,
}

impl Program {
    /// The events and hooks.
    pub(crate) fn table(&self) -> Result<Arc<Table>, Clash> {
        self.table.clone()
    }

    /// Makes the context and gives it to the handlers.
    pub(crate) async fn start(self) -> anyhow::Result<Fork> {
        (self.start)().await
    }
}
