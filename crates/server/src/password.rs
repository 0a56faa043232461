//! Passwords: their Argon2 hashes, and a limit for guesses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params};
use axum::extract::Request;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::problem::{INTERNAL, Problem};

/// The longest that a check waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most guesses of one address at once; afterwards one more each [`REFILL`].
const GUESSES: NonZeroU32 = NonZeroU32::new(10).unwrap();

const REFILL: Duration = Duration::from_secs(6);

/// Address of the client of a request, as an extension of the request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// The client's address; the unspecified one if the request has come over no connection.
    pub fn of(request: &Request) -> IpAddr {
        let peer = request.extensions().get::<Peer>();
        peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip().to_canonical())
    }
}

/// Hashes a password for a setting.
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

/// A password, known by its hash.
#[derive(Clone)]
pub struct Password(PasswordHash);

impl Password {
    /// Reads an Argon2 hash; none if the text is no such hash.
    pub fn from_hash(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text.trim()).ok()?;
        Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        Params::try_from(&hash).ok()?;
        (hash.salt.is_some() && hash.hash.is_some()).then_some(Password(hash))
    }

    /// True if this is the password. It takes some ten milliseconds of a processor and 19 MiB: see [`Guesses`].
    pub fn is(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.0).is_ok()
    }
}

/// Limits of guesses: one check at a time, so that they cannot exhaust the memory, and a few a minute for each address.
pub struct Guesses {
    turn: Arc<Semaphore>,
    /// The longest wait for a turn.
    patience: Duration,
    rates: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Guesses {
    fn default() -> Self {
        Guesses::with_patience(PATIENCE)
    }
}

impl Guesses {
    fn with_patience(patience: Duration) -> Self {
        let quota = Quota::with_period(REFILL).expect("the period is not zero");
        Guesses {
            turn: Arc::new(Semaphore::new(1)),
            patience,
            rates: RateLimiter::keyed(quota.allow_burst(GUESSES)),
        }
    }

    /// Runs a check of a guess from this address.
    ///
    /// # Errors
    /// The response to too many guesses.
    pub async fn check(
        &self,
        from: IpAddr,
        check: impl FnOnce() -> bool + Send + 'static,
    ) -> Result<bool, Problem> {
        if let Err(later) = self.rates.check_key(&from) {
            let wait = later.wait_time_from(DefaultClock::default().now());
            return Err(Problem::too_many_requests(wait).detail("too many attempts to log in"));
        }
        self.rates.retain_recent();
        let turn = Arc::clone(&self.turn).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(self.patience, turn).await else {
            return Err(Problem::unavailable(self.patience));
        };
        let check = move || {
            let is_right = check();
            drop(turn);
            is_right
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| Problem::new(&INTERNAL))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_guess_that_waits_too_long_is_sent_away() {
        let guesses = Guesses::with_patience(Duration::from_millis(1));
        let _busy = guesses.turn.acquire().await.unwrap();
        let refused = guesses.check(HERE, || true).await.unwrap_err().into_response();
        assert_eq!(refused.status(), 503);
    }

    #[tokio::test]
    async fn many_guesses_of_one_address_are_refused_and_others_are_not() {
        let guesses = Guesses::default();
        for _ in 0..GUESSES.get() {
            assert!(!guesses.check(HERE, || false).await.unwrap());
        }
        let refused = guesses.check(HERE, || true).await.unwrap_err().into_response();
        assert_eq!(refused.status(), 429);
        assert!(refused.headers().contains_key("retry-after"));
        assert!(guesses.check(Ipv4Addr::new(10, 0, 0, 1).into(), || true).await.unwrap());
    }

    #[test]
    fn only_hashes_of_argon2_are_read() {
        for bad in ["", "secret", "$argon2id$v=19$m=8", "$scrypt$ln=1$c2FsdHNhbHQ$aGFzaGhhc2g"] {
            assert!(Password::from_hash(bad).is_none(), "{bad}");
        }
        let password = Password::from_hash(&hash(&"secret".into()).unwrap()).unwrap();
        assert!(password.is(b"secret") && !password.is(b"Secret"));
    }
}
