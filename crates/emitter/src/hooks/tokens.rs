//! The tokens of the mock vendor, and the reasons for which one is refused.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// The length of a token's lookup prefix. It is no secret; the rest is, and is compared in constant time.
const NAME: usize = 12;

/// The length of the documented tokens, in bytes before hex encoding.
const BYTES: usize = 38;

/// Issued tokens of one kind, each with its grant.
#[derive(Debug)]
pub(super) struct Tokens<G> {
    /// The text between the prefix and the secret.
    separator: &'static str,
    issued: HashMap<String, Issued<G>>,
}

#[derive(Debug)]
struct Issued<G> {
    secret: SecretString,
    grant: G,
    at: Instant,
    used: bool,
}

/// The reason why the mock vendor refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallbackRefusal {
    /// The bearer key is not the vendor's.
    #[error("the bearer key is missing or not the vendor's")]
    Key,
    /// There is no token.
    #[error("there is no token")]
    Missing,
    /// The token was never issued.
    #[error("the token is unknown")]
    Unknown,
    /// The token has been used before.
    #[error("the token is used: it is good for one call")]
    Used,
    /// The token has expired.
    #[error("the token is expired")]
    Expired,
    /// The token was issued for another hook or page.
    #[error("the token is another hook's or page's")]
    Misplaced,
}

impl CallbackRefusal {
    /// The name in responses and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            CallbackRefusal::Key => "wrong-key",
            CallbackRefusal::Missing => "no-token",
            CallbackRefusal::Unknown => "unknown-token",
            CallbackRefusal::Used => "used-token",
            CallbackRefusal::Expired => "expired-token",
            CallbackRefusal::Misplaced => "misplaced-token",
        }
    }
}

impl<G> Tokens<G> {
    pub(super) fn new(separator: &'static str) -> Self {
        Tokens { separator, issued: HashMap::new() }
    }

    /// Issues a random token.
    pub(super) fn issue(&mut self, grant: G) -> anyhow::Result<SecretString> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
        let text = hex::encode(bytes);
        let (name, secret) = text.split_at(NAME);
        let token = [name, self.separator, secret].concat();
        let issued = Issued { secret: secret.into(), grant, at: Instant::now(), used: false };
        self.issued.insert(name.to_owned(), issued);
        Ok(token.into())
    }

    /// Checks the token: it must be younger than `life` and its grant must satisfy `fits`.
    pub(super) fn check(
        &mut self,
        token: &str,
        life: Duration,
        fits: impl Fn(&G) -> bool,
    ) -> Result<&G, CallbackRefusal> {
        self.find(token, life, fits).map(|issued| &issued.grant)
    }

    /// As [`check`](Self::check), for a single use: the token is then used.
    pub(super) fn redeem(
        &mut self,
        token: &str,
        life: Duration,
        fits: impl Fn(&G) -> bool,
    ) -> Result<&G, CallbackRefusal> {
        let issued = self.find(token, life, fits)?;
        issued.used = true;
        Ok(&issued.grant)
    }

    fn find(
        &mut self,
        token: &str,
        life: Duration,
        fits: impl Fn(&G) -> bool,
    ) -> Result<&mut Issued<G>, CallbackRefusal> {
        let (name, rest) = token.split_at_checked(NAME).ok_or(CallbackRefusal::Unknown)?;
        let secret = rest.strip_prefix(self.separator).ok_or(CallbackRefusal::Unknown)?;
        let issued = self.issued.get_mut(name).ok_or(CallbackRefusal::Unknown)?;
        if !bool::from(issued.secret.expose_secret().as_bytes().ct_eq(secret.as_bytes())) {
            return Err(CallbackRefusal::Unknown);
        }
        if issued.used {
            return Err(CallbackRefusal::Used);
        }
        if issued.at.elapsed() >= life {
            return Err(CallbackRefusal::Expired);
        }
        if fits(&issued.grant) { Ok(issued) } else { Err(CallbackRefusal::Misplaced) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn redeem(tokens: &mut Tokens<u8>, token: &str) -> Result<u8, CallbackRefusal> {
        tokens.redeem(token, LIFE, |grant| *grant == 7).copied()
    }

    #[tokio::test]
    async fn a_token_is_good_for_one_call() {
        let mut tokens = Tokens::new("");
        let token = tokens.issue(7).unwrap();
        let token = token.expose_secret();
        assert_eq!(token.len(), 76);
        assert_eq!(redeem(&mut tokens, token), Ok(7));
        assert_eq!(redeem(&mut tokens, token), Err(CallbackRefusal::Used));
    }

    #[tokio::test]
    async fn what_was_never_given_out_is_unknown_however_near_it_is() {
        let mut tokens = Tokens::new("");
        let token = tokens.issue(7).unwrap().expose_secret().to_owned();
        let mut other = token.clone();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        for unknown in ["", "é", &token[..75], &token[..12], &other, &token.to_uppercase()] {
            // Upper case is the same only if the token has no letter.
            let expected = if unknown == token { Ok(7) } else { Err(CallbackRefusal::Unknown) };
            assert_eq!(redeem(&mut tokens, unknown), expected, "{unknown}");
        }
        assert_eq!(redeem(&mut tokens, &token), Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_expires() {
        let mut tokens = Tokens::new("");
        let token = tokens.issue(7).unwrap();
        tokio::time::advance(LIFE).await;
        assert_eq!(redeem(&mut tokens, token.expose_secret()), Err(CallbackRefusal::Expired));
    }

    #[tokio::test]
    async fn a_token_for_something_else_stays_good() {
        let mut tokens = Tokens::new("/-");
        let token = tokens.issue(7).unwrap();
        let token = token.expose_secret();
        assert!(token.contains("/-"), "{token}");
        let misplaced = tokens.redeem(token, LIFE, |grant| *grant == 8);
        assert_eq!(misplaced, Err(CallbackRefusal::Misplaced));
        assert_eq!(tokens.check(token, LIFE, |_| true), Ok(&7));
        assert_eq!(redeem(&mut tokens, token), Ok(7));
    }
}
