//! The URL of an inbox, whose scheme selects the engine. It is a secret, since it may hold a password.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

/// A parsed inbox URL. It is shown without what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub enum InboxUrl {
    /// `sqlite:PATH`, a file on this machine.
    Sqlite(PathBuf),
}

/// Reason why a text is no inbox URL. It repeats nothing of the text but its scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the setting `inbox` is not an inbox URL: {reason}; write inbox = \"sqlite:data/inbox.db\""
)]
pub struct InboxUrlError {
    reason: String,
}

impl InboxUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If there is no such engine, or the rest of the URL is missing.
    pub fn parse(url: &SecretString) -> Result<Self, InboxUrlError> {
        let refused = |reason: String| Err(InboxUrlError { reason });
        match url.expose_secret().split_once(':') {
            Some(("sqlite", "")) => refused("it names no file".into()),
            Some(("sqlite", path)) => Ok(InboxUrl::Sqlite(path.into())),
            Some((scheme, _)) if is_scheme(scheme) => {
                refused(format!("there is no engine `{scheme}`"))
            }
            _ => refused("it does not begin with the name of an engine and a colon".into()),
        }
    }

    /// The file of an embedded inbox.
    pub fn file(&self) -> Option<&Path> {
        match self {
            InboxUrl::Sqlite(path) => Some(path),
        }
    }
}

/// True if the text can be a scheme, and not what stands before the colon of a password.
fn is_scheme(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

impl fmt::Display for InboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InboxUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Debug for InboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_selects_the_engine() {
        let url = InboxUrl::parse(&"sqlite:data/inbox.db".into()).unwrap();
        assert_eq!(url, InboxUrl::Sqlite("data/inbox.db".into()));
        assert_eq!(
            (url.to_string().as_str(), url.file()),
            ("sqlite:data/inbox.db", Some("data/inbox.db".as_ref()))
        );
    }

    #[test]
    fn an_error_repeats_no_secret_and_says_what_to_write() {
        for (url, reason) in [
            ("mysql://me:hidden@host/db", "there is no engine `mysql`"),
            ("me:hidden@host/db", "there is no engine `me`"),
            ("//me:hidden@host/db", "it does not begin"),
            ("data/hidden.db", "it does not begin"),
            ("sqlite:", "it names no file"),
            ("", "it does not begin"),
        ] {
            let error = InboxUrl::parse(&url.into()).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hidden"), "{url}: {error}");
            assert!(error.contains("write inbox = \"sqlite:data/inbox.db\""), "{error}");
        }
    }
}
