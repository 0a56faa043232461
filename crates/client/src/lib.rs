//! The HTTP client of all outgoing requests: HTTP/1.1, headers in title case, no redirects.
//!
//! It depends on no crate of the engine; whatever calls out depends on it.

pub mod guard;

use std::cell::Cell;
use std::error::Error as _;
use std::io::ErrorKind;
use std::path::Path;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Certificate, Client, ClientBuilder, Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tower_layer::Layer;
use tower_service::Service;

/// The idle time after which a pooled connection is closed: shorter than servers keep one, five seconds being the
/// shortest common limit.
const IDLE: Duration = Duration::from_secs(4);

tokio::task_local! {
    /// True if the current request has opened a connection of its own.
    static HAS_CONNECTED: Cell<bool>;
}

/// The most header lines that a response may have; one with more is an error.
pub const MAX_HEADERS: usize = 1000;

/// A client for `https` targets, or for plain ones only; `timeout` limits a whole request.
///
/// A redirect is returned like any other response: following it would take a key or a token elsewhere. Plain requests
/// bypass any proxy, because a proxy could read the key.
///
/// # Errors
/// If the certificates that the system trusts cannot be read.
pub fn client(https: bool, timeout: Option<Duration>) -> anyhow::Result<Client> {
    with_roots(https, timeout, &[])
}

/// As [`client`], and trusts these certificates besides the system's.
///
/// # Errors
/// As [`client`].
pub fn with_roots(
    https: bool,
    timeout: Option<Duration>,
    roots: &[CertificateDer<'_>],
) -> anyhow::Result<Client> {
    build(pooled(Client::builder()), https, timeout, roots)
}

/// As [`client`], and opens a connection of its own for each request: one over a pooled connection that turns out to be
/// closed may or may not have been read, and a request that must not be handled twice cannot be sent again.
///
/// # Errors
/// As [`client`].
pub fn unpooled(https: bool) -> anyhow::Result<Client> {
    build(Client::builder().pool_max_idle_per_host(0), https, None, &[])
}

fn build(
    client: ClientBuilder,
    https: bool,
    timeout: Option<Duration>,
    roots: &[CertificateDer<'_>],
) -> anyhow::Result<Client> {
    // Fails only if a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = client
        .redirect(reqwest::redirect::Policy::none())
        .http1_title_case_headers()
        .http1_max_headers(MAX_HEADERS);
    let client = match timeout {
        Some(timeout) => client.timeout(timeout),
        None => client,
    };
    let client = match https {
        true => client.tls_certs_merge(certificates(roots)?),
        false => client.no_proxy().tls_certs_only([]),
    };
    client.build().context("cannot set up the HTTP client")
}

/// Configures the connection pool that [`execute`] relies on.
pub fn pooled(client: ClientBuilder) -> ClientBuilder {
    client.pool_idle_timeout(IDLE).connector_layer(Connecting)
}

/// Executes a request. If its pooled connection turns out to be closed, the request is sent again over the next one, at
/// last over a new one: the peer closed the connection because it was idle, and has not read the request.
///
/// A server that reads a request and hangs up without a response cannot be told from that, so a request that must not
/// be handled twice needs a one-time token or an id, or a client without a pool.
///
/// # Errors
/// As [`Client::execute`].
pub async fn execute(client: &Client, mut request: Request) -> reqwest::Result<Response> {
    loop {
        let again = request.try_clone();
        let executed = async {
            let result = client.execute(request).await;
            (result, HAS_CONNECTED.with(Cell::get))
        };
        let (result, has_connected) = HAS_CONNECTED.scope(Cell::new(false), executed).await;
        match (result, again) {
            (Err(error), Some(again)) if !has_connected && is_hung_up(&error) => request = again,
            (result, _) => return result,
        }
    }
}

/// True if the connection ended before a response came.
fn is_hung_up(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled())
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
            return [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected]
                .contains(&error.kind());
        }
        cause = error.source();
    }
    false
}

/// Records that a request opens a connection.
#[derive(Clone)]
struct Connecting;

impl<S> Layer<S> for Connecting {
    type Service = Connector<S>;

    fn layer(&self, connector: S) -> Connector<S> {
        Connector(connector)
    }
}

#[derive(Clone)]
struct Connector<S>(S);

impl<S: Service<T>, T> Service<T> for Connector<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> S::Future {
        // Outside of `execute` the value is not set.
        let _ = HAS_CONNECTED.try_with(|has_connected| has_connected.set(true));
        self.0.call(target)
    }
}

/// The certificates of a PEM file; empty without a file.
///
/// # Errors
/// If the file cannot be read or has none.
pub fn roots(file: Option<&Path>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let unreadable = || format!("cannot read {}", file.display());
    let found = CertificateDer::pem_file_iter(file).with_context(unreadable)?;
    let found = found.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    ensure!(!found.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(found)
}

/// The certificates in the client's type. Invalid ones are found only when a client is built with them.
///
/// # Errors
/// If the client cannot take this form.
pub fn certificates(roots: &[CertificateDer<'_>]) -> anyhow::Result<Vec<Certificate>> {
    roots.iter().map(|root| Ok(Certificate::from_der(root)?)).collect()
}

/// The reason for a missing response. Equal causes have equal texts, so that they can be counted.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut root = error.source();
    while let Some(deeper) = root.and_then(|cause| cause.source()) {
        root = Some(deeper);
    }
    let root = root.map_or_else(|| "the request failed".to_owned(), ToString::to_string);
    if error.is_connect() { format!("cannot connect: {root}") } else { root }
}
