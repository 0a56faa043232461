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
use server::problem::{FORBIDDEN, Problem};
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

/// What a person may do.
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
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

struct Session {
    actor: Actor,
    began: Instant,
    used: Instant,
}

impl Access {
    pub(crate) fn new(settings: &ConsoleConfig) -> Result<Self, ConfigError> {
        let viewer = password(settings.viewer_password_hash.as_ref(), "viewer_password_hash")?;
        let operator =
            password(settings.operator_password_hash.as_ref(), "operator_password_hash")?;
        let (guesses, sessions) = (Guesses::default(), Mutex::default());
        Ok(Access { viewer, operator, guesses, sessions })
    }

    /// True if there is no password: then the console is for this machine alone, and everyone is an operator.
    pub(crate) fn is_open(&self) -> bool {
        self.viewer.is_none() && self.operator.is_none()
    }

    /// Checks a password, and begins a session. Returns its token; none if the password is wrong.
    pub(crate) async fn log_in(
        self: &Access,
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
        self.keep(digest(token.as_bytes()), actor);
        Ok(Some(token))
    }

    /// Ends the session of a request. Returns true if there was one.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> bool {
        token(headers).is_some_and(|token| self.lock().remove(&digest(token.as_bytes())).is_some())
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

    /// The person behind a request: of its session, or of its Basic credential.
    async fn actor(&self, headers: &HeaderMap, from: IpAddr) -> Result<Option<Actor>, Problem> {
        if self.is_open() {
            return Ok(Some(Actor { name: "local".into(), role: Role::Operator }));
        }
        if let Some(actor) = token(headers).and_then(|token| self.session(digest(token.as_bytes())))
        {
            return Ok(Some(actor));
        }
        let Some(credential) = basic_credential(headers) else { return Ok(None) };
        let key = digest(&[b"Basic ", credential.as_slice()].concat());
        if let Some(actor) = self.session(key) {
            return Ok(Some(actor));
        }
        let (name, secret) = user_and_password(&credential);
        let (name, secret) = (String::from_utf8_lossy(name).into_owned(), secret.to_vec());
        let actor = self.identify(&name, secret, from).await?;
        if let Some(actor) = &actor {
            self.keep(key, actor.clone());
        }
        Ok(actor)
    }

    fn session(&self, key: [u8; 32]) -> Option<Actor> {
        let mut sessions = self.lock();
        sessions.retain(|_, session| {
            session.used.elapsed() < IDLE && session.began.elapsed() < LONGEST
        });
        let session = sessions.get_mut(&key)?;
        session.used = Instant::now();
        Some(session.actor.clone())
    }

    fn keep(&self, key: [u8; 32], actor: Actor) {
        let now = Instant::now();
        let mut sessions = self.lock();
        if sessions.len() >= MOST_SESSIONS {
            let oldest =
                sessions.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
            oldest.map(|key| sessions.remove(&key));
        }
        sessions.insert(key, Session { actor, began: now, used: now });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
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

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
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
    let actor = match console.access.actor(request.headers(), from).await {
        Ok(Some(actor)) => actor,
        Ok(None) => return login::ask(&request),
        Err(problem) => return problem.into_response(),
    };
    let may_change = actor.role == Role::Operator;
    let visit = match Visit::of(&request, actor) {
        Ok(visit) => visit,
        Err(problem) => return problem.into_response(),
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
            let actor = access.actor(&cookie(&token), HERE).await.unwrap().unwrap();
            assert_eq!(actor, Actor { name: "ann".into(), role });
            assert!(access.log_out(&cookie(&token)));
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
