//! A mock of the vendor on this machine: callbacks with one-time tokens, the check of page tokens, and the services of the
//! Extension API.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use settings::is_local;
use source::has_bearer;
use text::field::MediaType;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::behaviour::{Logic, VendorBehaviour};
use super::services::{SERVICES, ServiceRecord, service};
use super::stand_in::{self, StandIn};
use super::tokens::{CallbackRefusal, Tokens};

/// The path of callbacks, below the base URL.
pub(super) const HOOKS: &str = "api/extension/hooks/";

/// The path of the check of page tokens, below the base URL.
const PAGES: &str = "api/extension/pages/ValidateToken";

/// The largest callback, in bytes.
const LARGEST: usize = 8 * 1024 * 1024;

/// The number of recorded calls of each kind: the latest.
const REMEMBERED: usize = 1024;

/// The number before the first id that the mock assigns.
const FIRST_ID: u64 = 1000;

/// A mock vendor for hooks to call back. It listens on loopback only, and stops when it is dropped.
pub struct MockVendor {
    url: Url,
    address: SocketAddr,
    vendor: Arc<VendorState>,
    serving: AbortOnDropHandle<()>,
    /// Its place in front of a stand-in, for as long as it is held.
    lease: Option<reqwest::Response>,
}

/// A callback and its result.
#[derive(Debug, Clone)]
pub struct CallbackRecord {
    /// The hook in the callback's path.
    pub hook: String,
    /// The forwarded user.
    pub user: Option<String>,
    /// The body of the callback.
    pub request: Bytes,
    /// The reason of the refusal, if it was refused.
    pub refusal: Option<CallbackRefusal>,
    /// The response: status and body; none if the connection was closed instead.
    pub answer: Option<(StatusCode, Bytes)>,
}

pub(super) struct VendorState {
    /// The path of the base URL, with a slash at its end.
    base: String,
    key: SecretString,
    samples: HashMap<String, &'static str>,
    behaviour: Mutex<VendorBehaviour>,
    tokens: Mutex<Tokens<String>>,
    pages: Mutex<Tokens<PageGrant>>,
    callbacks: Mutex<VecDeque<CallbackRecord>>,
    services: Mutex<VecDeque<ServiceRecord>>,
    last_id: AtomicU64,
    /// The part of one that stands in for the vendor for good.
    pub(super) stand_in: Option<StandIn>,
}

#[derive(Debug)]
struct PageGrant {
    name: String,
    user: String,
}

impl MockVendor {
    /// Listens at `base`, whose port may be 0 for a free one, and expects `key` as the bearer key. `samples` are the
    /// hooks' ids and the sample responses of the vendor's own logic.
    ///
    /// # Errors
    /// If `base` is not an `http://` address of this machine, or is in use.
    pub async fn start(
        base: &Url,
        key: SecretString,
        samples: impl IntoIterator<Item = (String, &'static str)>,
        behaviour: VendorBehaviour,
    ) -> anyhow::Result<Self> {
        Self::listen(base, key, samples, behaviour, None).await
    }

    /// As [`start`](Self::start), for a vendor that stays, as beside `dev`: since nobody issues its callbacks' tokens, it takes
    /// any. It sends each call of a service to `calls`, and hands its place over to the mock of `emit --hook` while that runs.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn stand_in(
        base: &Url,
        key: SecretString,
        samples: impl IntoIterator<Item = (String, &'static str)>,
        calls: mpsc::Sender<ServiceRecord>,
    ) -> anyhow::Result<Self> {
        let stand_in = StandIn::new(calls);
        Self::listen(base, key, samples, VendorBehaviour::default(), Some(stand_in)).await
    }

    /// As [`start`](Self::start), in front of the stand-in at `base`, which passes every request on for as long as this one runs.
    ///
    /// # Errors
    /// If there is no stand-in with this key, or another one is in front of it.
    pub(super) async fn start_before(
        base: &Url,
        key: SecretString,
        samples: impl IntoIterator<Item = (String, &'static str)>,
        behaviour: VendorBehaviour,
    ) -> anyhow::Result<Self> {
        let mut free = base.clone();
        free.set_port(Some(0)).ok().context("the address has no port")?;
        let vendor = Self::start(&free, key.clone(), samples, behaviour).await?;
        let lease = stand_in::lease(base, &key, vendor.address).await?;
        Ok(MockVendor { lease: Some(lease), ..vendor })
    }

    async fn listen(
        base: &Url,
        key: SecretString,
        samples: impl IntoIterator<Item = (String, &'static str)>,
        behaviour: VendorBehaviour,
        stand_in: Option<StandIn>,
    ) -> anyhow::Result<Self> {
        ensure!(
            base.scheme() == "http" && is_local(base),
            "{base} is not an http:// address of this machine, and the mock vendor runs only there"
        );
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = base.port_or_known_default().unwrap_or_default();
        let listener = TcpListener::bind((host, port))
            .await
            .with_context(|| format!("cannot run the mock vendor at {base}"))?;
        let mut url = base.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", base.path()));
        }
        let address = listener.local_addr()?;
        url.set_port(Some(address.port())).ok().context("the address has no port")?;
        let vendor = Arc::new(VendorState {
            base: url.path().to_owned(),
            key,
            samples: samples.into_iter().map(|(id, text)| (id.to_lowercase(), text)).collect(),
            behaviour: Mutex::new(behaviour),
            tokens: Mutex::new(Tokens::new("")),
            // The vendor's page tokens contain these characters.
            pages: Mutex::new(Tokens::new("/-")),
            callbacks: Mutex::default(),
            services: Mutex::default(),
            last_id: AtomicU64::new(FIRST_ID),
            stand_in,
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&vendor)));
        Ok(MockVendor {
            url,
            address,
            vendor,
            serving: AbortOnDropHandle::new(serving),
            lease: None,
        })
    }

    /// The base URL, for `callback_url`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Issues a token for one callback of this hook.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn token(&self, hook: &str) -> anyhow::Result<SecretString> {
        lock(&self.vendor.tokens).issue(hook.to_owned())
    }

    /// Issues a token that proves this user to this page, any number of times.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn page_token(&self, page: &str, user: &str) -> anyhow::Result<SecretString> {
        lock(&self.vendor.pages).issue(PageGrant { name: page.to_owned(), user: user.to_owned() })
    }

    /// Changes the behaviour from now on.
    pub fn set_behaviour(&self, behaviour: VendorBehaviour) {
        *lock(&self.vendor.behaviour) = behaviour;
    }

    /// The callbacks since the last call of this method, in the order of their responses; of very many only the latest.
    pub fn take_callbacks(&self) -> Vec<CallbackRecord> {
        lock(&self.vendor.callbacks).drain(..).collect()
    }

    /// The calls of services since the last call of this method, as [`take_callbacks`](Self::take_callbacks).
    pub fn take_service_calls(&self) -> Vec<ServiceRecord> {
        lock(&self.vendor.services).drain(..).collect()
    }

    /// Ends every connection; when this returns, the address is free.
    pub async fn stop(self) {
        drop(self.lease);
        self.serving.abort();
        // The task ends only by this abort.
        let _ = self.serving.await;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, vendor: Arc<VendorState>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&vendor)));
                }
                // Out of file descriptors, most likely: waiting a little lets connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut stream: TcpStream, vendor: Arc<VendorState>) {
    let _ = stream.set_nodelay(true);
    if let Some(stand_in) = &vendor.stand_in
        && let Some(mut other) = stand_in.other().await
    {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
        return;
    }
    // A connection that stayed would bypass whoever takes this one's place.
    let is_kept = vendor.stand_in.is_none();
    let service = service_fn(move |request| {
        let vendor = Arc::clone(&vendor);
        async move { vendor.answer(request).await }
    });
    // A broken connection is reported by the other side.
    let mut http = http1::Builder::new();
    let _ = http.keep_alive(is_kept).serve_connection(TokioIo::new(stream), service).await;
}

pub(super) type ResponseBody = BoxBody<Bytes, io::Error>;

/// A response, or the end of the connection.
pub(super) type VendorResponse = Result<Response<ResponseBody>, io::Error>;

impl VendorState {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> VendorResponse {
        let path = request.uri().path().strip_prefix(&self.base).unwrap_or_default().to_owned();
        let hook = path.strip_prefix(HOOKS).filter(|hook| !hook.is_empty());
        let is_page = path.eq_ignore_ascii_case(PAGES);
        let service = path.strip_prefix(SERVICES).and_then(service);
        let is_lease = self.stand_in.is_some() && path == stand_in::LEASE;
        if hook.is_none() && service.is_none() && !is_page && !is_lease {
            return error(StatusCode::NOT_FOUND, "not-found", "the vendor has no such path");
        }
        if request.method() != Method::POST {
            return error(StatusCode::METHOD_NOT_ALLOWED, "method", "the method is POST");
        }
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(io::Error::other)?;
        let body = body.to_bytes();
        match (hook, service) {
            (Some(hook), _) => self.callback(hook, &head.headers, body).await,
            (None, Some(called)) => self.service(called, &head.headers, body).await,
            (None, None) if is_lease => stand_in::grant(self, &head.headers, &body),
            (None, None) => self.page(&head.headers, &body),
        }
    }

    /// Answers 200 with `{}`, as for a method without a response; nothing is known of others.
    async fn service(
        &self,
        (service, method): (&str, &str),
        headers: &http::HeaderMap,
        request: Bytes,
    ) -> VendorResponse {
        let refusal = self.check_key(headers).err();
        let (status, body) = match refusal {
            Some(refusal) => refused(refusal),
            None if !is_json(headers, &request) => {
                let body = problem("not-json", "the request is not application/json");
                (StatusCode::BAD_REQUEST, body)
            }
            None => (StatusCode::OK, Bytes::from_static(b"{}")),
        };
        let (service, method) = (service.to_owned(), method.to_owned());
        let answer = (status, body.clone());
        let call = ServiceRecord { service, method, request, refusal, answer };
        match &self.stand_in {
            Some(stand_in) => stand_in.report(call).await,
            None => remember(&self.services, call),
        }
        whole(status, body)
    }

    async fn callback(&self, hook: &str, headers: &http::HeaderMap, body: Bytes) -> VendorResponse {
        let behaviour = lock(&self.behaviour).clone();
        let user = headers.get("X-DirectScale-User").map(|user| text(user.as_bytes()));
        let mut exchange = CallbackRecord {
            hook: hook.to_owned(),
            user,
            request: body,
            refusal: None,
            answer: None,
        };
        let (status, body) = match self.admit(hook, headers, &behaviour) {
            Err(refusal) => {
                exchange.refusal = Some(refusal);
                refused(refusal)
            }
            Ok(()) if !is_json(headers, &exchange.request) => {
                let body = problem("not-json", "the callback is not application/json");
                (StatusCode::BAD_REQUEST, body)
            }
            Ok(()) => {
                tokio::time::sleep(behaviour.delay).await;
                let sample = self.samples.get(&hook.to_lowercase()).copied().unwrap_or("{}");
                let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
                behaviour.logic.answer(sample, id)
            }
        };
        let is_accepted = status == StatusCode::OK;
        let hangs_up = is_accepted && behaviour.logic == Logic::HangUp;
        exchange.answer = (!hangs_up).then(|| (status, body.clone()));
        if self.stand_in.is_none() {
            remember(&self.callbacks, exchange);
        }
        match behaviour.logic {
            Logic::HangUp if is_accepted => Err(io::ErrorKind::ConnectionAborted.into()),
            Logic::Cut if is_accepted => Ok(half(&body)),
            _ => whole(status, body),
        }
    }

    /// Checks the key and the token, which must be for this hook and is then used.
    fn admit(
        &self,
        hook: &str,
        headers: &http::HeaderMap,
        behaviour: &VendorBehaviour,
    ) -> Result<(), CallbackRefusal> {
        self.check_key(headers)?;
        let token = headers.get("X-DirectScale-CallbackToken").ok_or(CallbackRefusal::Missing)?;
        let token = token.to_str().map_err(|_| CallbackRefusal::Unknown)?;
        if behaviour.logic == Logic::Refuse {
            return Err(CallbackRefusal::Unknown);
        }
        if self.stand_in.is_some() {
            return Ok(());
        }
        let fits = |granted: &String| granted.eq_ignore_ascii_case(hook);
        lock(&self.tokens).redeem(token, behaviour.token_life, fits).map(|_| ())
    }

    pub(super) fn check_key(&self, headers: &http::HeaderMap) -> Result<(), CallbackRefusal> {
        if has_bearer(headers, &self.key) { Ok(()) } else { Err(CallbackRefusal::Key) }
    }

    fn page(&self, headers: &http::HeaderMap, body: &[u8]) -> VendorResponse {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct ValidateToken {
            token: String,
            page_name: String,
        }
        if let Err(refusal) = self.check_key(headers) {
            let (status, body) = refused(refusal);
            return whole(status, body);
        }
        let Ok(query) = serde_json::from_slice::<ValidateToken>(body) else {
            return error(StatusCode::BAD_REQUEST, "not-json", "write Token and PageName");
        };
        let behaviour = lock(&self.behaviour).clone();
        let fits = |page: &PageGrant| page.name == query.page_name;
        let mut pages = lock(&self.pages);
        let (status, body) = match pages.check(&query.token, behaviour.token_life, fits) {
            Err(refusal) => refused(refusal),
            Ok(PageGrant { user, .. }) => {
                let user = if behaviour.user_in_object {
                    json!({ "username": user })
                } else {
                    json!(user)
                };
                (StatusCode::OK, user.to_string().into())
            }
        };
        whole(status, body)
    }
}

fn remember<T>(records: &Mutex<VecDeque<T>>, record: T) {
    let mut records = lock(records);
    if records.len() == REMEMBERED {
        records.pop_front();
    }
    records.push_back(record);
}

fn is_json(headers: &http::HeaderMap, body: &[u8]) -> bool {
    let is_named = MediaType::of(headers).is_some_and(|media| media.is_json());
    is_named && serde_json::from_slice::<&RawValue>(body).is_ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn refused(refusal: CallbackRefusal) -> (StatusCode, Bytes) {
    (StatusCode::UNAUTHORIZED, problem(refusal.as_str(), &refusal.to_string()))
}

fn problem(error: &str, message: &str) -> Bytes {
    json!({ "error": error, "message": message }).to_string().into()
}

pub(super) fn error(status: StatusCode, error: &str, message: &str) -> VendorResponse {
    whole(status, problem(error, message))
}

pub(super) fn whole(status: StatusCode, body: Bytes) -> VendorResponse {
    Ok(response(status, body.len(), Full::new(body).map_err(|never| match never {}).boxed()))
}

/// The head and the first half of the body, and then the end of the connection.
fn half(body: &Bytes) -> Response<ResponseBody> {
    let first = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let end = stream::once(async {
        // The written bytes go out before the error closes the connection.
        tokio::task::yield_now().await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    response(StatusCode::OK, body.len(), BodyExt::boxed(StreamBody::new(first.chain(end))))
}

fn response(status: StatusCode, length: usize, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length.into());
    response
}
