//! The fork's part of the program: handlers, context and pages.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use contract::catalog::{Catalog, Clash, Handlers, Table};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use receiver::serve::{Fork, MakeConsole};

use crate::setup::Setup;

/// The console, if it is built in.
#[cfg(feature = "console")]
const CONSOLE: Option<MakeConsole> = Some(console::routes);
#[cfg(not(feature = "console"))]
const CONSOLE: Option<MakeConsole> = None;

type MakeContext<C> = Box<dyn FnOnce(Setup) -> BoxFuture<'static, anyhow::Result<C>> + Send>;
type MakePages<C> = Box<dyn FnOnce(C) -> Router + Send>;

/// A fork's application: its handlers, their context, and its pages.
pub struct App<C> {
    catalog: Catalog<C>,
    connect: MakeContext<C>,
    pages: MakePages<C>,
}

impl<C: Clone + Send + Sync + 'static> App<C> {
    /// An application with these handlers. `connect` makes their context once, before anything is received; if it
    /// fails, the receiver does not start. Commands that receive nothing do not call it.
    pub fn new<P>(catalog: Catalog<C>, connect: impl Connect<C, P>) -> Self {
        let connect: MakeContext<C> = Box::new(|setup| connect.connect(setup));
        App { catalog, connect, pages: Box::new(|_| Router::new()) }
    }

    /// Adds pages that a vendor shows in a frame, below the path that `pages` of a source's hooks gives them.
    #[must_use]
    pub fn pages(self, pages: impl FnOnce(C) -> Router + Send + 'static) -> Self {
        App { pages: Box::new(pages), ..self }
    }

    /// Erases the type of the context.
    pub(crate) fn bind(self) -> Program {
        let (table, migration) = (self.catalog.table(), self.catalog.migration());
        let start = async move |setup| {
            let context = (self.connect)(setup).await?;
            let handlers = self.catalog.bind(&context)?;
            Ok(Fork { handlers, pages: (self.pages)(context), console: CONSOLE })
        };
        Program { table, migration, start: Box::new(|setup| start(setup).boxed()) }
    }
}

/// The function that makes a fork's context: an async one that takes [`Setup`], or nothing. `P` is its parameters.
pub trait Connect<C, P>: Send + 'static {
    /// Makes the context.
    fn connect(self, setup: Setup) -> BoxFuture<'static, anyhow::Result<C>>;
}

impl<C, F, T> Connect<C, ()> for T
where
    T: FnOnce() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<C>> + Send + 'static,
{
    fn connect(self, _: Setup) -> BoxFuture<'static, anyhow::Result<C>> {
        self().boxed()
    }
}

impl<C, F, T> Connect<C, (Setup,)> for T
where
    T: FnOnce(Setup) -> F + Send + 'static,
    F: Future<Output = anyhow::Result<C>> + Send + 'static,
{
    fn connect(self, setup: Setup) -> BoxFuture<'static, anyhow::Result<C>> {
        self(setup).boxed()
    }
}

/// The application as the commands see it.
pub(crate) struct Program {
    table: Result<Arc<Table>, Clash>,
    /// The statements that make the tables of one-effect handlers, if there are any.
    pub(crate) migration: Option<&'static str>,
    start: MakeContext<Fork>,
}

impl Program {
    /// The table of events and hooks.
    pub(crate) fn table(&self) -> Result<Arc<Table>, Clash> {
        self.table.clone()
    }

    /// The application without its handlers, for a process that only receives events.
    pub(crate) fn without_handlers(&self) -> anyhow::Result<Fork> {
        Ok(Fork { handlers: Handlers::none(self.table()?), pages: Router::new(), console: CONSOLE })
    }

    /// Makes the context and binds the handlers to it.
    pub(crate) async fn start(self, setup: Setup) -> anyhow::Result<Fork> {
        (self.start)(setup).await
    }
}
