//! The event bus, put together: its engine, its routes, and the order in which they stop.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::allow_many_connections;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::emitter::bus::{Bus, Options, Types, api};
use crate::http;

/// Runs the bus on `listener` until `stop`, then waits for requests that are on their way.
///
/// # Errors
/// If the settings cannot be used or the outbox cannot be opened.
pub async fn serve_bus<C: 'static>(
    config: &Config,
    catalog: &Catalog<C>,
    options: Options,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let key = config.bus.key()?;
    allow_many_connections(config.limits.connections + config.bus.concurrency);
    let bus = Bus::open(&config.bus, Types::of(catalog), options).await?;
    info!(address = %listener.local_addr()?, outbox = config.bus.outbox, "the bus takes events");
    let router = api::router(std::sync::Arc::clone(&bus), key);
    http::serve(listener, router, &config.limits, stop).await;
    bus.stop().await;
    info!("the bus has stopped");
    Ok(())
}
