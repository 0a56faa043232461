//! The HTTP client of whatever calls out: HTTP/1.1, headers in title case, no redirects.

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

/// How long a connection is kept for the next request: shorter than servers keep it, five seconds being the shortest that is
/// common.
const IDLE: Duration = Duration::from_secs(4);

tokio::task_local! {
    /// Whether the request that is being executed has begun a connection of its own.
    static HAS_CONNECTED: Cell<bool>;
}

/// How many header lines an answer may have. One that has more is read as no answer at all.
pub const MOST_HEADERS: usize = 1000;

/// A client for `https` targets, or for plain ones only; a request may take as long as `timeout`.
///
/// A redirect is an answer like any other: following it would take a key or a token elsewhere. Plain requests go past any
/// proxy, because a proxy could read the key.
///
/// # Errors
/// If the certificates that the system trusts cannot be read.
pub fn client(https: bool, timeout: Option<Duration>) -> anyhow::Result<Client> {
    trusting(https, timeout, &[])
}

/// As [`client`], but one that trusts these certificates besides the system's.
///
/// # Errors
/// As [`client`].
pub fn trusting(
    https: bool,
    timeout: Option<Duration>,
    roots: &[CertificateDer<'_>],
) -> anyhow::Result<Client> {
    // Fails only if a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = keeping(Client::builder())
        .redirect(reqwest::redirect::Policy::none())
        .http1_title_case_headers()
        .http1_max_headers(MOST_HEADERS);
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

/// A client that keeps connections for a while, in the way that [`execute`] asks for.
pub fn keeping(client: ClientBuilder) -> ClientBuilder {
    client.pool_idle_timeout(IDLE).connector_layer(Connecting)
}

/// Executes a request. If the connection that was kept for it turns out to be closed, it is sent over the next one, which
/// is a new one at last: the other side has closed that connection because it was idle, and not read the request.
///
/// Nobody can tell that from a server that reads a request and hangs up without a word, so what must not happen twice needs
/// a token that is good for one use, or an id.
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

/// Whether the connection ended before a response came.
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

/// Notes that a request connects.
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
        // Outside of `execute` nobody asks.
        let _ = HAS_CONNECTED.try_with(|has_connected| has_connected.set(true));
        self.0.call(target)
    }
}

/// The certificates of a file in PEM; none without a file.
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

/// The same as the client takes them. Whether they are certificates shows when a client is set up with them.
///
/// # Errors
/// If the client takes none in this form.
pub fn certificates(roots: &[CertificateDer<'_>]) -> anyhow::Result<Vec<Certificate>> {
    roots.iter().map(|root| Ok(Certificate::from_der(root)?)).collect()
}

/// Why a request has no answer. The same words for the same cause, so that causes can be counted.
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
