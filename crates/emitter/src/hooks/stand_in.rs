//! A mock vendor that stays, and hands its place over to one that comes for a time.
//!
//! `dev` keeps one at its `callback_url`; `emit --hook` needs that very address for the callbacks that it reports. It leases the
//! address by a request whose response lasts as long as the lease, so that even a crash gives it back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use client::client;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::mock_vendor::{VendorResponse, VendorState, error, lock, refused, whole};
use super::services::ServiceRecord;

/// The path of leases, below the base URL; the vendor has none.
pub(super) const LEASE: &str = "stand-in/lease";

/// The patience with a stand-in on this machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The further state of a mock vendor that stays.
pub(super) struct StandIn {
    calls: mpsc::Sender<ServiceRecord>,
    /// The address of the one in its place.
    other: Mutex<Option<SocketAddr>>,
}

impl StandIn {
    pub(super) fn new(calls: mpsc::Sender<ServiceRecord>) -> Self {
        StandIn { calls, other: Mutex::new(None) }
    }

    pub(super) async fn report(&self, call: ServiceRecord) {
        // Nobody listens any more while it stops.
        let _ = self.calls.send(call).await;
    }

    /// A connection to the one in its place.
    pub(super) async fn other(&self) -> Option<TcpStream> {
        let address = (*lock(&self.other))?;
        TcpStream::connect(address).await.ok()
    }
}

/// A request for the lease.
#[derive(Serialize, Deserialize)]
struct LeaseRequest {
    /// The address of the one that comes.
    address: SocketAddr,
}

/// A held lease; its end gives the place back.
struct Lease(Arc<VendorState>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(stand_in) = &self.0.stand_in {
            *lock(&stand_in.other) = None;
        }
    }
}

/// Grants the lease to whoever has the key. A second one is not asked for here: its request goes to the first.
pub(super) fn grant(vendor: &Arc<VendorState>, headers: &HeaderMap, body: &[u8]) -> VendorResponse {
    if let Err(refusal) = vendor.check_key(headers) {
        let (status, body) = refused(refusal);
        return whole(status, body);
    }
    let (Some(stand_in), Ok(LeaseRequest { address })) =
        (&vendor.stand_in, serde_json::from_slice(body))
    else {
        return error(StatusCode::BAD_REQUEST, "not-json", "write the address");
    };
    if !address.ip().is_loopback() {
        return error(StatusCode::BAD_REQUEST, "address", "the address is not of this machine");
    }
    *lock(&stand_in.other) = Some(address);
    let lease = Lease(Arc::clone(vendor));
    let held = stream::once(async move {
        let _lease = lease;
        std::future::pending().await
    });
    Ok(Response::new(BodyExt::boxed(StreamBody::new(held))))
}

/// Takes the lease of the stand-in at `base`; it is held as long as the response is.
pub(super) async fn lease(
    base: &Url,
    key: &SecretString,
    address: SocketAddr,
) -> anyhow::Result<reqwest::Response> {
    let mut url = base.clone();
    url.set_path(&format!("{}/{LEASE}", base.path().trim_end_matches('/')));
    let mut key = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))?;
    key.set_sensitive(true);
    let request = client(false, None)?
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, key)
        .body(serde_json::to_vec(&LeaseRequest { address })?);
    let response = timeout(PATIENCE, request.send()).await.context("it does not answer")??;
    ensure!(response.status() == StatusCode::OK, "it answers {}", response.status());
    Ok(response)
}
