//! The HTTP client of whatever calls out: HTTP/1.1, headers in title case, no redirects.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Certificate, Client};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How long a connection is kept for the next request: shorter than servers keep it, so that none is lost on it.
const IDLE: Duration = Duration::from_secs(5);

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
    let client = Client::builder()
        .pool_idle_timeout(IDLE)
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
