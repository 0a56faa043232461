//! Assembly of the event bus: engine, routes, and the order of shutdown.

use std::sync::Arc;

use ::pages::{assets, show_errors};
use axum::Router;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use contract::catalog::Table;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use server::connections;
use server::docs;
use server::full_disk::wait_for_disk_space;
use server::login::Login;
use server::open_files::allow_connections;
use server::origin::local_only;
use server::problem::{NOT_FOUND, Problem};
use server::{run_to_completion, security};
use settings::{Config, is_loopback};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Bus, BusOptions, EventTypes, api, pages};

/// The least number of targets that are sent to at once, even if fewer files may be open.
const LEAST_TARGETS: usize = 64;

/// Runs the bus on `listener` until `stop`, then waits for requests in flight.
///
/// The future is boxed, so that it is compiled here and not in each program.
///
/// # Errors
/// If the settings cannot be used or the outbox cannot be opened.
pub fn serve_bus<'a>(
    config: &'a Config,
    catalog: &'a Table,
    options: BusOptions,
    listener: TcpListener,
    stop: CancellationToken,
) -> BoxFuture<'a, anyhow::Result<()>> {
    run(config, catalog, options, listener, stop).boxed()
}

async fn run(
    config: &Config,
    catalog: &Table,
    options: BusOptions,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let key = config.bus.key()?;
    let needed = config.limits.connections.saturating_add(config.bus.concurrency);
    let targets = allow_connections(needed, options.targets).max(LEAST_TARGETS);
    if targets < options.targets {
        warn!(targets, "the limit of open files permits no more targets at once");
    }
    let options = BusOptions { targets, ..options };
    let bus = || Bus::open(&config.bus, EventTypes::of(catalog), options.clone()).boxed();
    let bus = wait_for_disk_space(bus, store::is_full, &listener, &config.limits, &stop).await?;
    let Some(bus) = bus else { return Ok(()) };
    info!(address = %listener.local_addr()?, outbox = config.bus.outbox, "the bus accepts events");
    let router = pages(config, &bus, key.is_some())?.merge(api::router(Arc::clone(&bus), key));
    let router = router.fallback(not_found).layer(from_fn(run_to_completion));
    connections::serve(listener, router, &config.limits, None, stop).await;
    bus.stop().await;
    info!("the bus has stopped");
    Ok(())
}

/// The Admin pages and Swagger: on loopback for this machine, or behind the login; elsewhere behind the login or not at
/// all.
fn pages(config: &Config, bus: &Arc<Bus>, has_key: bool) -> anyhow::Result<Router> {
    let login = Login::new(&config.docs)?;
    let (is_open, is_here) = (login.is_none(), is_loopback(config.bus.listen.ip()));
    if is_open && !is_here {
        info!("the bus serves no pages on this address without a login in [docs]");
        return Ok(Router::new());
    }
    let document = api::document(has_key);
    let pages = docs::beside(pages::router(Arc::clone(bus)), &document, login)?;
    let pages = if is_open { pages.layer(from_fn(local_only)) } else { pages };
    // Style and script hold nothing secret; the page that asks for the login needs them too.
    Ok(show_errors(&pages::SITE, pages).merge(assets(pages::SITE.path)))
}

/// Answers an address that the bus does not serve.
async fn not_found() -> Response {
    let mut response = Problem::new(&NOT_FOUND).into_response();
    security::add(
        &mut response,
        security::headers(HeaderValue::from_static("default-src 'none'"), "no-referrer"),
    );
    security::add(&mut response, security::UNFRAMED);
    response
}
