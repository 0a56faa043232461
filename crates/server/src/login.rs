//! Login of the documentation pages and the metrics: HTTP Basic against an Argon2 hash.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderMap};
use secrecy::ExposeSecret;
use settings::{ConfigError, Docs};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use text::field::credentials;
use tracing::warn;

pub use super::password::hash;
use super::password::{Guesses, Password, Peer};
use super::problem::Problem;

/// Middleware: requires the login's user and password.
///
/// # Errors
/// The response to an unauthorized request.
pub async fn require_login(
    State(login): State<Login>,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    let from = Peer::of(&request);
    login.check(request.headers(), from).await.map_err(IntoResponse::into_response)?;
    Ok(next.run(request).await)
}

/// A user and the hash of the password.
#[derive(Clone)]
pub struct Login(Arc<LoginState>);

struct LoginState {
    user: String,
    password: Password,
    /// Digest of the accepted credential, so that only the first request pays for the hash.
    accepted: OnceLock<[u8; 32]>,
    guesses: Guesses,
}

impl Login {
    /// Creates the login from the settings; none without a password.
    ///
    /// # Errors
    /// [`ConfigError`] if the hash is not one or the user is missing.
    pub fn new(settings: &Docs) -> Result<Option<Self>, ConfigError> {
        let Some(text) = &settings.password_hash else { return Ok(None) };
        let password = Password::from_hash(text.expose_secret()).ok_or_else(|| {
            ConfigError("password_hash in [docs] is not an Argon2 hash; make one with `webhook-receiver secret --hash`".into())
        })?;
        let user = settings.user.clone().filter(|user| can_log_in(user)).ok_or_else(|| {
            ConfigError("[docs] has a password_hash and no user (without a colon); write for example user = \"docs\"".into())
        })?;
        let (accepted, guesses) = (OnceLock::new(), Guesses::default());
        Ok(Some(Login(Arc::new(LoginState { user, password, accepted, guesses }))))
    }

    async fn check(&self, headers: &HeaderMap, from: IpAddr) -> Result<(), Problem> {
        let credential = basic_credential(headers).ok_or_else(challenge)?;
        let digest: [u8; 32] = Sha256::digest(&credential).into();
        if self.remembers(&digest) {
            return Ok(());
        }
        let state = Arc::clone(&self.0);
        if !self.0.guesses.check(from, move || state.accepts(&credential)).await? {
            warn!(client = %from, "a login to the documentation pages has failed");
            return Err(challenge());
        }
        // Concurrent first successes have the same credential, hence the same digest.
        let _ = self.0.accepted.set(digest);
        Ok(())
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        self.0.accepted.get().is_some_and(|accepted| accepted.ct_eq(digest).into())
    }
}

impl LoginState {
    /// Checks a credential in equal time for a wrong user and a wrong password.
    fn accepts(&self, credential: &[u8]) -> bool {
        let (user, password) = user_and_password(credential);
        let known = user.ct_eq(self.user.as_bytes());
        (known & u8::from(self.password.is(password)).into()).into()
    }
}

/// Decodes `user:password` from the request.
pub fn basic_credential(headers: &HeaderMap) -> Option<Vec<u8>> {
    let encoded = credentials(headers.get(AUTHORIZATION)?.as_bytes(), "Basic")?;
    BASE64_STANDARD.decode(encoded).ok()
}

/// Splits `user:password`.
pub fn user_and_password(credential: &[u8]) -> (&[u8], &[u8]) {
    let colon = credential.iter().position(|&byte| byte == b':').unwrap_or(credential.len());
    let (user, rest) = credential.split_at(colon);
    (user, rest.get(1..).unwrap_or_default())
}

fn challenge() -> Problem {
    Problem::unauthorized("Basic realm=\"webhook-receiver\", charset=\"UTF-8\"")
}

fn can_log_in(user: &str) -> bool {
    !user.is_empty() && !user.contains(':')
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::password::hash;

    fn login(password: &str) -> Login {
        let password_hash = Some(hash(&password.into()).unwrap().into());
        Login::new(&Docs { user: Some("docs".into()), password_hash }).unwrap().unwrap()
    }

    async fn status(login: &Login, authorization: Option<String>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        match login.check(&headers, Ipv4Addr::LOCALHOST.into()).await {
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
    async fn an_accepted_credential_passes_however_many_guesses_there_were() {
        let login = login("secret");
        assert_eq!(status(&login, basic("docs:secret")).await, 200);
        let mut refused = 0;
        while status(&login, basic("docs:guess")).await != 429 {
            refused += 1;
        }
        assert_eq!(refused, 9);
        assert_eq!(status(&login, basic("docs:secret")).await, 200);
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
