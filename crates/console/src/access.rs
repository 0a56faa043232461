//! Access to the console: passwords, roles and sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{COOKIE, HeaderMap};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use server::login::{basic_credential, user_and_password};
use server::password::{Guesses, Password, Peer};
use server::problem::{BAD_REQUEST, FORBIDDEN, Problem};
use settings::{ConfigError, ConsoleConfig};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::visit::Visit;
use crate::{Console, login};

/// Name of the session's cookie.
pub(crate) const SESSION: &str = "console_session";

/// Time without a request after which a session ends, and its longest time.
const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);

/// The most sessions at once; the oldest ends.
const MOST_SESSIONS: usize = 256;

/// The longest name that is recorded.
const LONGEST_NAME: usize = 64;

/// Time for which an address is suspect after a refused guess.
const SUSPECT: Duration = Duration::from_secs(60);

/// Digest that identifies a session.
pub(crate) type SessionKey = [u8; 32];

/// Rights of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Role {
    /// Sees everything but what is redacted, and changes nothing.
    Viewer,
    /// Also replays, discards, prunes, pauses, and sees what is redacted.
    Operator,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
        }
    }
}

/// A person, as the record of acts names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Actor {
    /// The name that the person gave; nothing proves it but the role's password.
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// The passwords and the sessions.
pub(crate) struct Access {
    viewer: Option<Password>,
    operator: Option<Password>,
    guesses: Guesses,
    /// By the digest of the token, which alone the browser knows; or of a Basic credential.
    sessions: Mutex<HashMap<SessionKey, Session>>,
    /// Addresses whose guesses were refused lately: for them a known Basic credential is checked again, as any guess is.
    suspects: Mutex<HashMap<IpAddr, Instant>>,
}

struct Session {
    actor: Actor,
    began: Instant,
    used: Instant,
}

impl Session {
    fn lasts(&self) -> bool {
        self.used.elapsed() < IDLE && self.began.elapsed() < LONGEST
    }
}

/// A person with a session, if a login is needed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) actor: Actor,
    pub(crate) session: Option<SessionKey>,
}

impl Access {
    pub(crate) fn new(settings: &ConsoleConfig) -> Result<Self, ConfigError> {
        let viewer = password(settings.viewer_password_hash.as_ref(), "viewer_password_hash")?;
        let operator =
            password(settings.operator_password_hash.as_ref(), "operator_password_hash")?;
        Ok(Access {
            viewer,
            operator,
            guesses: Guesses::default(),
            sessions: Mutex::default(),
            suspects: Mutex::default(),
        })
    }

    /// True if there is no password: then the console is for this machine alone, and everyone is an operator.
    pub(crate) fn is_open(&self) -> bool {
        self.viewer.is_none() && self.operator.is_none()
    }

    /// Checks a password, and begins a session. Returns its token; none if the password is wrong.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        secret: Vec<u8>,
        from: IpAddr,
    ) -> Result<Option<String>, Problem> {
        let Some(actor) = self.identify(name, secret, from).await? else { return Ok(None) };
        let mut bytes = [0; 32];
        if getrandom::fill(&mut bytes).is_err() {
            return Err(Problem::new(&server::problem::INTERNAL));
        }
        let token = hex::encode(bytes);
        self.keep(digest("cookie:", token.as_bytes()), actor);
        Ok(Some(token))
    }

    /// Ends the session of a request. Returns true if there was one.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> bool {
        token(headers)
            .is_some_and(|token| self.lock().remove(&digest("cookie:", token.as_bytes())).is_some())
    }

    async fn identify(
        &self,
        name: &str,
        secret: Vec<u8>,
        from: IpAddr,
    ) -> Result<Option<Actor>, Problem> {
        let (viewer, operator) = (self.viewer.clone(), self.operator.clone());
        let role = Arc::new(Mutex::new(None));
        let found = Arc::clone(&role);
        // Both are checked, so that the time does not tell which one was nearly right.
        let check = move || {
            let is =
                |password: &Option<Password>| password.as_ref().is_some_and(|own| own.is(&secret));
            let (is_viewer, is_operator) = (is(&viewer), is(&operator));
            let role = match (is_operator, is_viewer) {
                (true, _) => Some(Role::Operator),
                (false, true) => Some(Role::Viewer),
                (false, false) => None,
            };
            *found.lock().unwrap_or_else(PoisonError::into_inner) = role;
            role.is_some()
        };
        let name: String = name.trim().chars().take(LONGEST_NAME).collect();
        if name.is_empty() || !self.guesses.check(from, check).await? {
            warn!(client = %from, user = name, "a login to the console has failed");
            return Ok(None);
        }
        let role = role.lock().unwrap_or_else(PoisonError::into_inner).take();
        let actor = role.map(|role| Actor { name, role });
        if let Some(Actor { name, role }) = &actor {
            info!(client = %from, user = name, role = role.as_str(), "a login to the console");
        }
        Ok(actor)
    }

    /// The person behind a request, and its session; none without a login.
    async fn actor(&self, headers: &HeaderMap, from: IpAddr) -> Result<Option<Known>, Problem> {
        if self.is_open() {
            let actor = Actor { name: "local".into(), role: Role::Operator };
            return Ok(Some(Known { actor, session: None }));
        }
        if let Some(key) = token(headers).map(|token| digest("cookie:", token.as_bytes()))
            && let Some(actor) = self.session(key)
        {
            return Ok(Some(Known { actor, session: Some(key) }));
        }
        let Some(credential) = basic_credential(headers) else { return Ok(None) };
        let key = digest("basic:", &credential);
        if !self.is_suspect(from)
            && let Some(actor) = self.session(key)
        {
            return Ok(Some(Known { actor, session: Some(key) }));
        }
        let (name, secret) = user_and_password(&credential);
        let (name, secret) = (String::from_utf8_lossy(name).into_owned(), secret.to_vec());
        let actor = match self.identify(&name, secret, from).await {
            Ok(actor) => actor,
            Err(refused) => {
                self.suspect(from);
                return Err(refused);
            }
        };
        Ok(actor.map(|actor| {
            self.keep(key, actor.clone());
            Known { actor, session: Some(key) }
        }))
    }

    fn is_suspect(&self, from: IpAddr) -> bool {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.retain(|_, since| since.elapsed() < SUSPECT);
        suspects.contains_key(&from)
    }

    fn suspect(&self, from: IpAddr) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.insert(from, Instant::now());
    }

    /// True while a session lasts. To ask does not make it last.
    pub(crate) fn lasts(&self, session: Option<SessionKey>) -> bool {
        session.is_none_or(|key| {
            let sessions = self.lock();
            sessions.get(&key).is_some_and(Session::lasts)
        })
    }

    fn session(&self, key: SessionKey) -> Option<Actor> {
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.lasts());
        let session = sessions.get_mut(&key)?;
        session.used = Instant::now();
        Some(session.actor.clone())
    }

    fn keep(&self, key: SessionKey, actor: Actor) {
        let now = Instant::now();
        let mut sessions = self.lock();
        if sessions.len() >= MOST_SESSIONS {
            let oldest =
                sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.map(|key| sessions.remove(&key));
        }
        sessions.insert(key, Session { actor, began: now, used: now });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn password(hash: Option<&SecretString>, setting: &str) -> Result<Option<Password>, ConfigError> {
    let read = |hash: &SecretString| {
        Password::from_hash(hash.expose_secret()).ok_or_else(|| {
            ConfigError(format!(
                "{setting} in [console] is not an Argon2 hash; make one with `webhook-receiver secret --hash`"
            ))
        })
    };
    hash.map(read).transpose()
}

fn digest(sort: &str, secret: &[u8]) -> SessionKey {
    Sha256::new().chain_update(sort).chain_update(secret).finalize().into()
}

/// The session's token in the request's cookies.
fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(SESSION)?.strip_prefix('='))
}

/// Middleware of all pages: admits persons with a role, and lets none but operators change anything.
pub(crate) async fn admit(
    State(console): State<Arc<Console>>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = Peer::of(&request);
    let known = match console.access.actor(request.headers(), from).await {
        Ok(Some(known)) => known,
        Ok(None) => return login::ask(&request),
        Err(problem) => return problem.into_response(),
    };
    let may_change = known.actor.role == Role::Operator;
    let visit = match Visit::of(&request, known) {
        Ok(visit) => visit,
        Err(error) => {
            return Problem::new(&BAD_REQUEST).detail(error.to_string()).into_response();
        }
    };
    if !request.method().is_safe() && !may_change {
        let why = "viewers change nothing; log in as an operator";
        return match visit.is_page() {
            true => visit.error(&console, http::StatusCode::FORBIDDEN, why).await,
            false => Problem::new(&FORBIDDEN).detail(why).into_response(),
        };
    }
    request.extensions_mut().insert(visit);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn access() -> Access {
        let hash = |password: &str| Some(server::password::hash(&password.into()).unwrap().into());
        Access::new(&ConsoleConfig {
            viewer_password_hash: hash("see"),
            operator_password_hash: hash("do"),
            ..ConsoleConfig::default()
        })
        .unwrap()
    }

    fn cookie(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, format!("a=b; {SESSION}={token}").parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn the_password_is_the_role_and_a_session_ends_when_it_is_told_to() {
        let access = access();
        for (secret, role) in [("see", Role::Viewer), ("do", Role::Operator)] {
            let token = access.log_in("ann", secret.into(), HERE).await.unwrap().unwrap();
            let known = access.actor(&cookie(&token), HERE).await.unwrap().unwrap();
            assert_eq!(known.actor, Actor { name: "ann".into(), role });
            assert!(access.lasts(known.session));
            assert!(access.log_out(&cookie(&token)));
            assert!(!access.lasts(known.session));
            assert_eq!(access.actor(&cookie(&token), HERE).await.unwrap(), None);
        }
        assert_eq!(access.log_in("ann", "guess".into(), HERE).await.unwrap(), None);
        assert_eq!(access.log_in(" ", "do".into(), HERE).await.unwrap(), None, "a name is needed");
        assert_eq!(access.actor(&cookie("00"), HERE).await.unwrap(), None);
    }

    #[tokio::test]
    async fn guesses_are_limited_and_sessions_go_on() {
        let access = access();
        let token = access.log_in("ann", "do".into(), HERE).await.unwrap().unwrap();
        while access.log_in("eve", "guess".into(), HERE).await.is_ok() {}
        assert!(access.log_in("ann", "do".into(), HERE).await.is_err());
        assert!(access.actor(&cookie(&token), HERE).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_known_credential_does_not_tell_guesses_apart() {
        use base64::Engine as _;
        let access = access();
        let basic = |password: &str| {
            let credential = base64::prelude::BASE64_STANDARD.encode(format!("bot:{password}"));
            let mut headers = HeaderMap::new();
            headers.insert(
                http::header::AUTHORIZATION,
                format!("Basic {credential}").parse().unwrap(),
            );
            headers
        };
        assert!(access.actor(&basic("do"), HERE).await.unwrap().is_some());
        assert!(access.actor(&cookie("basic:bot:do"), HERE).await.unwrap().is_none());
        while access.actor(&basic("guess"), HERE).await.is_ok() {}
        assert!(access.actor(&basic("do"), HERE).await.is_err(), "refused like any guess");
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        assert!(access.actor(&basic("do"), other).await.unwrap().is_some());
    }

    #[test]
    fn a_hash_that_is_none_is_named() {
        let settings = ConsoleConfig {
            viewer_password_hash: Some("secret".to_owned().into()),
            ..ConsoleConfig::default()
        };
        let error = Access::new(&settings).err().unwrap();
        assert!(error.0.starts_with("viewer_password_hash in [console]"), "{error}");
    }
}
