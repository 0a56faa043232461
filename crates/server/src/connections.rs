//! Accept loop of the listener, with limits for every connection and a graceful shutdown.

mod permits;
mod stream;
mod unserved;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use settings::Limits;
use telemetry::Metrics;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use tracing::{debug, warn};

use crate::password::Peer;
use crate::problem::Problem;
use crate::problem::SOON;
use crate::request_id::{REQUEST_ID, RequestId};
pub use permits::Permit;
use permits::{PermitOrigin, Permits};
use stream::{FilteredStream, WatchedBody, linger};
use unserved::{Reason, Unserved, check_head, response_bytes};

/// Number of connections over the limit that are answered concurrently; more are closed without a response.
const MAX_REFUSING: usize = 64;

/// Serves until `stop`, then waits for open requests, up to the drain time.
pub async fn serve<S>(
    listener: TcpListener,
    routes: S,
    limits: &Limits,
    metrics: Option<Arc<Metrics>>,
    stop: CancellationToken,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.max_head)
        .max_buf_size(limits.max_head)
        // A sender that closes its sending side after a request still waits for the response.
        .half_close(true);
    let server = Server {
        http,
        routes,
        write_timeout: limits.head_timeout,
        unserved: Unserved::new(metrics),
        stop: stop.clone(),
    };
    let permits = Permits::new(limits.connections);
    let refusing = Arc::new(Semaphore::new(MAX_REFUSING));
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    cannot_accept(&error).await;
                    continue;
                }
            },
        };
        // Small responses must not wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let Some((permit, origin)) = permits.take() else {
            if let Ok(slot) = Arc::clone(&refusing).try_acquire_owned() {
                let unserved = Arc::clone(&server.unserved);
                tokio::spawn(async move {
                    refuse_connection(&unserved, stream, peer).await;
                    drop(slot);
                });
            }
            continue;
        };
        if origin == PermitOrigin::Evicted {
            server.unserved.note_eviction();
        }
        let server = server.clone();
        connections.spawn(async move {
            tokio::select! {
                () = permit.evicted() => {}
                () = server.serve_connection(stream, peer, &permit) => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        warn!("requests still open at the end of the drain time are cut off");
    }
}

/// State shared by all connections.
#[derive(Clone)]
struct Server<S> {
    http: http1::Builder,
    routes: S,
    write_timeout: Duration,
    unserved: Arc<Unserved>,
    stop: CancellationToken,
}

impl<S> Server<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    /// Serves one connection to its end.
    async fn serve_connection(&self, stream: TcpStream, peer: SocketAddr, permit: &Arc<Permit>) {
        let [is_unread, is_busy, is_blocked] =
            std::array::from_fn(|_| Arc::<AtomicBool>::default());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            is_busy.store(true, Ordering::Relaxed);
            let request = request.map(|body| WatchedBody::new(body, &is_unread));
            let answer = self.answer(request.map(Body::new), peer, permit);
            Box::pin(answer.inspect(|_| is_busy.store(false, Ordering::Relaxed)))
        });
        // A response that the sender does not read must not hold its connection for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let stream = TokioIo::new(FilteredStream::new(Box::pin(stream), &is_blocked));
        let mut connection = self.http.serve_connection(stream, service);
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
            () = self.stop.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                let is_open = || [&is_busy, &is_blocked].iter().any(|is| is.load(Ordering::Relaxed));
                // A response is written in the poll in which it is ready, as far as the reader accepts it. An incomplete head is
                // not a request yet.
                poll_fn(|context| match connection.poll_without_shutdown(context) {
                    Poll::Pending if !is_open() => Poll::Ready(Ok(())),
                    polled => polled,
                })
                .await
            }
        };
        let parts = connection.into_parts();
        let FilteredStream { mut stream, withheld, .. } = parts.io.into_inner();
        let mut has_more = is_unread.load(Ordering::Relaxed);
        if let Err(error) = ended {
            debug!(%error, "connection");
            let Some(reason) = Reason::of(&error, withheld, &parts.read_buf) else { return };
            let answer = response_bytes(self.unserved.refuse(reason, peer)).await;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
            has_more = true;
        }
        if stream.shutdown().await.is_ok() && has_more {
            linger(&mut stream).await;
        }
    }

    async fn answer(
        &self,
        mut request: Request,
        peer: SocketAddr,
        permit: &Arc<Permit>,
    ) -> Result<Response, Infallible> {
        if let Err(reason) = check_head(&request) {
            let (problem, id) = self.unserved.refuse(*reason, peer);
            return Ok(with_id(problem.into_response(), Some(id)));
        }
        permit.begin();
        request.extensions_mut().insert(Arc::clone(permit));
        request.extensions_mut().insert(Peer(peer));
        let Ok(response) = self.routes.clone().call(request).await;
        permit.end();
        Ok(with_id(response, None))
    }
}

/// Refuses a connection over the limit with a 503.
async fn refuse_connection(unserved: &Unserved, mut stream: TcpStream, peer: SocketAddr) {
    let problem = Problem::unavailable(SOON).detail("all connections are taken");
    let reason = Reason { problem, words: "more than connections in limits".into() };
    let answer = response_bytes(unserved.refuse(reason, peer)).await;
    // A sender that does not read the response is closed without one.
    let answering = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        linger(&mut stream).await;
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), answering).await;
}

/// Adds the request id to the response.
fn with_id(mut response: Response, id: Option<RequestId>) -> Response {
    let missing = !response.headers().contains_key(REQUEST_ID);
    if missing && let Ok(id) = id.unwrap_or_else(RequestId::new).to_string().try_into() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Pauses after a failed accept: most likely file descriptors or memory ran out, and connections may end meanwhile.
async fn cannot_accept(error: &io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
