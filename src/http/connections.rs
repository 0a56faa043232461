//! The listener's loop: every connection has its limits, and a stop waits for open requests.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{debug, warn};

use crate::config::Limits;

/// What a connection over the limit is told before it is closed.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves until `stop`, then waits for open requests, but no longer than the drain time.
pub async fn serve<S>(listener: TcpListener, routes: S, limits: &Limits, stop: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.max_head);
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    cannot_accept(&error).await;
                    continue;
                }
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            turn_away(stream);
            continue;
        };
        // Small answers must not wait for the sender's acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let routes = routes.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            routes.clone().call(request.map(Body::new))
        });
        // An answer that the sender does not take must not hold its place for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.head_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        warn!("requests still open at the end of the drain time are cut off");
    }
}

fn turn_away(mut stream: TcpStream) {
    tokio::spawn(async move {
        // Whoever does not take the answer is closed without one.
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(FULL)).await;
    });
}

/// Out of file descriptors or memory, most likely: waiting a little lets connections end.
async fn cannot_accept(error: &io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
