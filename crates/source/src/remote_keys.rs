//! Remote keys: key sets and certificates that a sender publishes, fetched from named hosts, cached, and never awaited by
//! a request that has one already.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use client::guard::Guard;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::value::RawValue;
use signature::PublicKey;

/// The time limit of a fetch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest document that is read, in bytes.
const LARGEST: usize = 256 * 1024;

/// The shortest time between two fetches of one document, whatever requests name.
const PAUSE: Duration = Duration::from_secs(60);

/// The most documents that are fetched for one source within that time: a set is one, certificates are several.
const MOST_FETCHES: usize = 20;

/// The time after which keys are fetched anew, in the background.
const FRESH: Duration = Duration::from_secs(6 * 60 * 60);

/// The most keys that are kept of a source.
const MOST_KEYS: usize = 64;

/// The id of a remote key: the `kid` in a set, or the URL of a certificate.
pub type KeyId = String;

/// The keys of one source.
pub struct RemoteKeys {
    /// The URL of a key set; absent for certificates, each of which has its own.
    set: Option<Url>,
    client: Client,
    guard: Guard,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The keys, and the time at which each was last asked for.
    keys: HashMap<KeyId, (Arc<PublicKey>, Instant)>,
    /// The documents that were fetched within the pause, and the error of each that failed.
    recent: HashMap<Url, (Instant, Option<String>)>,
    /// The time at which the set was fetched.
    fetched: Option<Instant>,
}

/// The keys cannot be had now: the sender should come again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sender's keys cannot be fetched: {0}")]
pub struct KeysUnavailable(pub String);

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKeys({:?})", self.set.as_ref().map(Url::as_str))
    }
}

impl RemoteKeys {
    /// The keys in the set at this URL, or certificates without one.
    ///
    /// # Errors
    /// If the URL is none, or the certificates that the system trusts cannot be read.
    pub fn new(set: Option<&str>, guard: Guard) -> anyhow::Result<Self> {
        let set = set.map(Url::parse).transpose().context("it is no URL")?;
        if let Some(set) = &set {
            ensure!(
                set.scheme() == "https" || is_this_machine(set),
                "keys are fetched over https only"
            );
        }
        // Fails only if a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = guard.protect(Client::builder()).timeout(TIMEOUT);
        let client = client.build().context("cannot set up the HTTP client")?;
        let (state, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(RemoteKeys { set, client, guard, state, fetching })
    }

    /// The key with this id, if it is known.
    pub fn get(&self, id: &str) -> Option<Arc<PublicKey>> {
        let mut state = self.state();
        let (key, asked) = state.keys.get_mut(id)?;
        *asked = Instant::now();
        Some(Arc::clone(key))
    }

    /// Fetches the key with this id, unless it is known, or its document was fetched less than a minute ago.
    ///
    /// # Errors
    /// [`KeysUnavailable`] if the fetch failed or has to wait. A fetch that worked, but brought no such key, is no error.
    pub async fn fetch(self: &Arc<Self>, id: &str) -> Result<(), KeysUnavailable> {
        if self.get(id).is_some() {
            self.refresh_in_the_background(id);
            return Ok(());
        }
        let url = self.document(id)?;
        let _alone = self.fetching.lock().await;
        if self.get(id).is_some() {
            return Ok(());
        }
        self.may_fetch(&url)?;
        self.renew(&url, id).await
    }

    /// The URL of the document with the key.
    fn document(&self, id: &str) -> Result<Url, KeysUnavailable> {
        let parsed = || Url::parse(id).map_err(|error| KeysUnavailable(error.to_string()));
        self.set.clone().map_or_else(parsed, Ok)
    }

    /// Checks that the document was not fetched within the pause, and not too many others were.
    fn may_fetch(&self, url: &Url) -> Result<(), KeysUnavailable> {
        let mut state = self.state();
        state.recent.retain(|_, (fetched, _)| fetched.elapsed() < PAUSE);
        match state.recent.get(url) {
            Some((_, Some(error))) => Err(KeysUnavailable(error.clone())),
            // The key may be as new as the request is genuine: the sender should come again.
            Some((_, None)) => Err(KeysUnavailable(
                "the last fetch was less than a minute ago, and did not bring this one".into(),
            )),
            None if state.recent.len() >= MOST_FETCHES => {
                Err(KeysUnavailable("too many were asked for within a minute".into()))
            }
            None => Ok(()),
        }
    }

    /// Fetches the set again when it is old; a request does not wait for it.
    fn refresh_in_the_background(self: &Arc<Self>, id: &str) {
        let is_old = self.state().fetched.is_none_or(|fetched| fetched.elapsed() > FRESH);
        if !is_old || self.set.is_none() {
            return;
        }
        let (keys, id) = (Arc::clone(self), id.to_owned());
        tokio::spawn(async move {
            if let (Ok(_alone), Ok(url)) = (keys.fetching.try_lock(), keys.document(&id))
                && keys.may_fetch(&url).is_ok()
            {
                let _ = keys.renew(&url, &id).await;
            }
        });
    }

    async fn renew(&self, url: &Url, id: &str) -> Result<(), KeysUnavailable> {
        let fetched = self.download(url, id).await.map_err(|error| format!("{error:#}"));
        let mut state = self.state();
        let now = Instant::now();
        state.recent.insert(url.clone(), (now, fetched.as_ref().err().cloned()));
        match fetched {
            Ok(keys) => {
                if self.set.is_some() {
                    // Keys that the sender has withdrawn are not accepted any more.
                    state.keys.clear();
                    state.fetched = Some(now);
                }
                for (id, key) in keys.into_iter().take(MOST_KEYS) {
                    state.keep(id, key, now);
                }
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "a sender's keys cannot be fetched");
                Err(KeysUnavailable(error))
            }
        }
    }

    async fn download(&self, url: &Url, id: &str) -> anyhow::Result<Vec<(KeyId, Arc<PublicKey>)>> {
        let text = self.text(url.clone()).await?;
        match self.set {
            None => {
                let key = PublicKey::read(&text).context("it is no certificate")?;
                Ok(vec![(id.to_owned(), Arc::new(key))])
            }
            Some(_) => key_set(&text),
        }
    }

    /// The text behind a URL, of limited size, without following a redirect.
    async fn text(&self, url: Url) -> anyhow::Result<String> {
        self.guard.check_literal(&url)?;
        let request = reqwest::Request::new(reqwest::Method::GET, url);
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|error| anyhow::anyhow!("{}", client::cause(&error)))?;
        ensure!(response.status() == 200, "the answer is {}", response.status().as_u16());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            ensure!(body.len() <= LARGEST, "the answer has more than {LARGEST} bytes");
        }
        String::from_utf8(body).context("the answer is not UTF-8")
    }

    /// Fetches a confirmation that a sender asks for, and nothing of its answer but its status.
    ///
    /// # Errors
    /// If the answer is not a success.
    pub async fn confirm(&self, url: &str) -> anyhow::Result<()> {
        self.text(Url::parse(url)?).await.map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps a key, in place of the one that has not been asked for the longest if there are too many.
    fn keep(&mut self, id: KeyId, key: Arc<PublicKey>, now: Instant) {
        if self.keys.len() >= MOST_KEYS
            && let Some(oldest) = self.keys.iter().min_by_key(|(_, (_, asked))| *asked)
        {
            let oldest = oldest.0.clone();
            self.keys.remove(&oldest);
        }
        self.keys.insert(id, (key, now));
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The keys of a JSON Web Key Set, under their ids. Keys of unknown types are left out.
fn key_set(text: &str) -> anyhow::Result<Vec<(KeyId, Arc<PublicKey>)>> {
    #[derive(Deserialize)]
    struct Set<'t> {
        #[serde(borrow)]
        keys: Vec<&'t RawValue>,
    }
    #[derive(Deserialize)]
    struct Named {
        kid: Option<String>,
    }
    let set: Set<'_> = serde_json::from_str(text).context("it is no key set")?;
    let key = |raw: &&RawValue| {
        let named: Named = serde_json::from_str(raw.get()).ok()?;
        Some((named.kid.unwrap_or_default(), Arc::new(PublicKey::read(raw.get()).ok()?)))
    };
    let keys: Vec<_> = set.keys.iter().filter_map(key).collect();
    if keys.is_empty() {
        bail!("the key set has no key that can verify");
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_is_read_without_the_keys_that_are_not_known() {
        let set = r#"{"keys":[
            {"kty":"EC","crv":"P-256","kid":"a","x":"qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA","y":"Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0"},
            {"kty":"EC","crv":"P-521","kid":"b","x":"AA","y":"AA"},
            {"kty":"oct","kid":"c","k":"c2VjcmV0"}
        ]}"#;
        let keys = key_set(set).unwrap();
        assert_eq!(keys.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a"]);
        for bad in ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":[1]}"#] {
            assert!(key_set(bad).is_err(), "{bad}");
        }
    }
}
