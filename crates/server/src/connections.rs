//! The listener's loop: every connection has its limits, and a stop waits for open requests.

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

use crate::problem::Problem;
use crate::problem::SOON;
use crate::request_id::{REQUEST_ID, RequestId};
pub use permits::Permit;
use permits::{Permits, Room};
use stream::{Routed, Watched, linger};
use unserved::{Reason, Unserved, check_head, written};

/// How many connections over the limit are answered at once; more are closed without an answer.
const TURNED_AWAY: usize = 64;

/// Serves until `stop`, then waits for open requests, but no longer than the drain time.
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
        // A sender that ends its own side behind a request still waits for the answer.
        .half_close(true);
    let server = Server {
        http,
        routes,
        write_timeout: limits.head_timeout,
        unserved: Unserved::new(metrics),
        stop: stop.clone(),
    };
    let permits = Permits::new(limits.connections);
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
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
        // Small answers must not wait for the sender's acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let Some((permit, room)) = permits.take() else {
            if let Ok(turn) = Arc::clone(&turned_away).try_acquire_owned() {
                let unserved = Arc::clone(&server.unserved);
                tokio::spawn(async move {
                    turn_away(&unserved, stream, peer).await;
                    drop(turn);
                });
            }
            continue;
        };
        if room == Room::Made {
            server.unserved.gave_way();
        }
        let server = server.clone();
        connections.spawn(async move {
            tokio::select! {
                () = permit.given_up() => {}
                () = server.converse(stream, peer, &permit) => {}
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        warn!("requests still open at the end of the drain time are cut off");
    }
}

/// What every connection is served with.
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
    async fn converse(&self, stream: TcpStream, peer: SocketAddr, permit: &Arc<Permit>) {
        let [is_unread, is_asked, is_blocked] =
            std::array::from_fn(|_| Arc::<AtomicBool>::default());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            is_asked.store(true, Ordering::Relaxed);
            let request = request.map(|body| Watched::new(body, &is_unread));
            let answer = self.answer(request.map(Body::new), peer, permit);
            Box::pin(answer.inspect(|_| is_asked.store(false, Ordering::Relaxed)))
        });
        // An answer that the sender does not take must not hold its connection for ever.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.write_timeout));
        let stream = TokioIo::new(Routed::new(Box::pin(stream), &is_blocked));
        let mut connection = self.http.serve_connection(stream, service);
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
            () = self.stop.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                let is_open = || [&is_asked, &is_blocked].iter().any(|is| is.load(Ordering::Relaxed));
                // An answer is written in the poll in which it is there, as far as its reader takes it. Half a head is no
                // request yet.
                poll_fn(|context| match connection.poll_without_shutdown(context) {
                    Poll::Pending if !is_open() => Poll::Ready(Ok(())),
                    polled => polled,
                })
                .await
            }
        };
        let parts = connection.into_parts();
        let Routed { mut stream, kept_back, .. } = parts.io.into_inner();
        let mut has_more = is_unread.load(Ordering::Relaxed);
        if let Err(error) = ended {
            debug!(%error, "connection");
            let Some(reason) = Reason::of(&error, kept_back, &parts.read_buf) else { return };
            let answer = written(self.unserved.refuse(reason, peer)).await;
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
        let Ok(response) = self.routes.clone().call(request).await;
        permit.end();
        Ok(with_id(response, None))
    }
}

/// Answers a connection over the limit.
async fn turn_away(unserved: &Unserved, mut stream: TcpStream, peer: SocketAddr) {
    let problem = Problem::unavailable(SOON).detail("all connections are taken");
    let reason = Reason { problem, words: "more than connections in limits".into() };
    let answer = written(unserved.refuse(reason, peer)).await;
    // Whoever does not take the answer is closed without one.
    let answering = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        linger(&mut stream).await;
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), answering).await;
}

/// The answer with its request's id.
fn with_id(mut response: Response, id: Option<RequestId>) -> Response {
    let missing = !response.headers().contains_key(REQUEST_ID);
    if missing && let Ok(id) = id.unwrap_or_else(RequestId::new).to_string().try_into() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Out of file descriptors or memory, most likely: waiting a little lets connections end.
async fn cannot_accept(error: &io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
