//! Start on a full disk: requests get a 503 until the store can be opened.

use std::net::TcpListener as StdListener;
use std::os::fd::AsFd;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::future::BoxFuture;
use settings::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::connections::serve;
use crate::problem::Problem;

/// Time between two tries to open the store.
const EVERY: Duration = Duration::from_secs(1);

/// Longest wait for open requests before each try.
const DRAIN: Duration = Duration::from_millis(100);

/// Calls `open` until its disk has space, and returns its result; none if `stop` fires first.
///
/// # Errors
/// If `open` fails for another reason.
pub async fn wait_for_disk_space<'a, T>(
    open: impl Fn() -> BoxFuture<'a, anyhow::Result<T>>,
    is_full: fn(&anyhow::Error) -> bool,
    listener: &TcpListener,
    limits: &Limits,
    stop: &CancellationToken,
) -> anyhow::Result<Option<T>> {
    let mut has_failed = false;
    loop {
        match open().await {
            Err(error) if is_full(&error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    let address = listener.local_addr()?;
                    let error = format!("{error:#}");
                    warn!(error, %address, "the disk is full: all requests get 503 until there is space");
                }
            }
            opened => {
                if has_failed && opened.is_ok() {
                    info!("the disk has space again");
                }
                return opened.map(Some);
            }
        }
        refuse(listener, limits, stop).await?;
        if stop.is_cancelled() {
            return Ok(None);
        }
    }
}

/// Refuses requests until the next try.
async fn refuse(
    listener: &TcpListener,
    limits: &Limits,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let same = listener.as_fd().try_clone_to_owned()?;
    let same = TcpListener::from_std(StdListener::from(same))?;
    let full = || async { Problem::unavailable(EVERY).detail("the disk is full") };
    let routes = Router::new().route("/healthz", get(async || "ok\n")).fallback(full);
    let end = stop.child_token();
    // A request that does not end must not delay the others' responses.
    let limits = Limits { drain: DRAIN, ..limits.clone() };
    let serving = serve(same, routes, &limits, None, end.clone());
    tokio::pin!(serving);
    if tokio::time::timeout(EVERY, &mut serving).await.is_err() {
        end.cancel();
        serving.await;
    }
    Ok(())
}
