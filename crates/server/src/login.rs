//! Login of the documentation pages and the metrics: HTTP Basic against an Argon2 hash.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use settings::{ConfigError, Docs};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use text::field::credentials;
use tokio::sync::Semaphore;

use super::problem::{INTERNAL, Problem};

const PATIENCE: Duration = Duration::from_secs(10);

/// Middleware: requires the login's user and password.
///
/// # Errors
/// The response to an unauthorized request.
pub async fn require_login(
    State(login): State<Login>,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    login.check(request.headers()).await.map_err(IntoResponse::into_response)?;
    Ok(next.run(request).await)
}

/// Hashes a password for `password_hash` in `[docs]`.
///
/// # Errors
/// If the system provides no random numbers.
pub fn hash(password: &SecretString) -> anyhow::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let hash = Argon2::default()
        .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
        .map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

/// A user and the hash of the password.
#[derive(Clone)]
pub struct Login(Arc<LoginState>);

struct LoginState {
    user: String,
    hash: PasswordHash,
    /// Digest of the accepted credential, so that only the first request pays for the hash.
    accepted: OnceLock<[u8; 32]>,
    /// Permits one check at a time, so that guesses cannot exhaust the memory.
    permit: Arc<Semaphore>,
    /// The longest that a check waits for its permit before it is refused.
    patience: Duration,
}

impl Login {
    /// Creates the login from the settings; none without a password.
    ///
    /// # Errors
    /// [`ConfigError`] if the hash is not one or the user is missing.
    pub fn new(settings: &Docs) -> Result<Option<Self>, ConfigError> {
        let Some(text) = &settings.password_hash else { return Ok(None) };
        let hash = parse(text.expose_secret()).ok_or_else(|| {
            ConfigError("password_hash in [docs] is not an Argon2 hash; make one with `webhook-receiver secret --hash`".into())
        })?;
        let user = settings.user.clone().filter(|user| can_log_in(user)).ok_or_else(|| {
            ConfigError("[docs] has a password_hash and no user (without a colon); write for example user = \"docs\"".into())
        })?;
        let permit = Arc::new(Semaphore::new(1));
        let state =
            LoginState { user, hash, accepted: OnceLock::new(), permit, patience: PATIENCE };
        Ok(Some(Login(Arc::new(state))))
    }

    async fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let credential = credential(headers).ok_or_else(challenge)?;
        let digest: [u8; 32] = Sha256::digest(&credential).into();
        if self.remembers(&digest) {
            return Ok(());
        }
        if !self.verify(credential).await? {
            return Err(challenge());
        }
        // Concurrent first successes have the same credential, hence the same digest.
        let _ = self.0.accepted.set(digest);
        Ok(())
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        self.0.accepted.get().is_some_and(|accepted| accepted.ct_eq(digest).into())
    }

    async fn verify(&self, credential: Vec<u8>) -> Result<bool, Problem> {
        let permit = Arc::clone(&self.0.permit).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.0.patience, permit).await else {
            return Err(Problem::unavailable(self.0.patience));
        };
        let state = Arc::clone(&self.0);
        let check = move || {
            let valid = state.accepts(&credential);
            drop(permit);
            valid
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| Problem::new(&INTERNAL))
    }
}

impl LoginState {
    /// Checks a credential in equal time for a wrong user and a wrong password.
    fn accepts(&self, credential: &[u8]) -> bool {
        let colon = credential.iter().position(|&byte| byte == b':').unwrap_or(credential.len());
        let (user, rest) = credential.split_at(colon);
        let password = rest.get(1..).unwrap_or_default();
        let known = user.ct_eq(self.user.as_bytes());
        let right = Argon2::default().verify_password(password, &self.hash).is_ok();
        (known & u8::from(right).into()).into()
    }
}

/// Decodes `user:password` from the request.
fn credential(headers: &HeaderMap) -> Option<Vec<u8>> {
    let encoded = credentials(headers.get(AUTHORIZATION)?.as_bytes(), "Basic")?;
    BASE64_STANDARD.decode(encoded).ok()
}

fn challenge() -> Problem {
    Problem::unauthorized("Basic realm=\"webhook-receiver\", charset=\"UTF-8\"")
}

fn parse(text: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(text.trim()).ok()?;
    Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    Params::try_from(&hash).ok()?;
    (hash.salt.is_some() && hash.hash.is_some()).then_some(hash)
}

fn can_log_in(user: &str) -> bool {
    !user.is_empty() && !user.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: &str) -> Login {
        let password_hash = Some(hash(&password.into()).unwrap().into());
        Login::new(&Docs { user: Some("docs".into()), password_hash }).unwrap().unwrap()
    }

    async fn status(login: &Login, authorization: Option<String>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        match login.check(&headers).await {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
        }
    }

    fn basic(credential: &str) -> Option<String> {
        Some(format!("Basic {}", BASE64_STANDARD.encode(credential)))
    }

    #[tokio::test]
    async fn only_the_user_with_the_password_passes() {
        let login = login("a:b c");
        for wrong in ["docs:a", "docs:", "docs", "docs:a:b c ", "root:a:b c", ":a:b c"] {
            assert_eq!(status(&login, basic(wrong)).await, 401, "{wrong}");
        }
        assert_eq!(status(&login, None).await, 401);
        assert_eq!(status(&login, Some("Bearer a:b c".into())).await, 401);
        assert_eq!(status(&login, basic("docs:a:b c")).await, 200);
    }

    #[tokio::test]
    async fn an_accepted_credential_passes_again_without_waiting_for_its_turn() {
        let login = login("secret");
        assert_eq!(status(&login, basic("docs:secret")).await, 200);
        let _busy = login.0.permit.acquire().await.unwrap();
        assert_eq!(status(&login, basic("docs:secret")).await, 200);
    }

    #[tokio::test]
    async fn a_guess_that_waits_too_long_is_sent_away() {
        let mut login = login("secret");
        Arc::get_mut(&mut login.0).unwrap().patience = Duration::from_millis(1);
        let _busy = login.0.permit.acquire().await.unwrap();
        assert_eq!(status(&login, basic("docs:guess")).await, 503);
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let refused = |user: Option<&str>, hash: &str| {
            let settings =
                Docs { user: user.map(Into::into), password_hash: Some(hash.to_owned().into()) };
            Login::new(&settings).err().unwrap().0
        };
        let good = hash(&"secret".into()).unwrap();
        for bad in ["", "secret", "$argon2id$v=19$m=8", "$scrypt$ln=1$c2FsdHNhbHQ$aGFzaGhhc2g"] {
            assert!(refused(Some("docs"), bad).starts_with("password_hash in [docs]"), "{bad}");
        }
        assert!(refused(None, &good).contains("no user"));
        assert!(refused(Some("a:b"), &good).contains("no user"));
    }
}
