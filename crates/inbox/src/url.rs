//! The URL of an inbox, whose scheme selects the engine. It is a secret, since it may hold a password.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

/// A parsed inbox URL. It is shown without what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub enum InboxUrl {
    /// `sqlite:PATH`, a file on this machine.
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST/DATABASE`, a database.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
}

/// The URL of a database, of which only the hosts and the database are shown.
#[cfg(feature = "postgres")]
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(crate) url: String,
    shown: String,
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
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => PostgresUrl::parse(url.expose_secret()),
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => {
                refused("this program was built without the feature `postgres`".into())
            }
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
            #[cfg(feature = "postgres")]
            InboxUrl::Postgres(_) => None,
        }
    }
}

#[cfg(feature = "postgres")]
impl PostgresUrl {
    fn parse(url: &str) -> Result<InboxUrl, InboxUrlError> {
        use tokio_postgres::config::Host;

        let (before_query, _) = url.split_once('?').unwrap_or((url, ""));
        if before_query.matches('@').count() > 1 || before_query.matches('/').count() > 3 {
            // What is left of a password would be taken for a host or a database.
            return Err(InboxUrlError {
                reason: "in a password, @ is written %40 and / is written %2F".into(),
            });
        }
        // The driver's message may repeat a part of the URL.
        let config: tokio_postgres::Config = url.parse().map_err(|_| InboxUrlError {
            reason: "it cannot be read as postgres://USER:PASSWORD@HOST/DATABASE".into(),
        })?;
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let mut hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
        for (host, port) in hosts.iter_mut().zip(config.get_ports()) {
            host.push_str(&format!(":{port}"));
        }
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        let shown = format!("postgres://{}/{database}", hosts.join(","));
        Ok(InboxUrl::Postgres(PostgresUrl { url: url.to_owned(), shown }))
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
            #[cfg(feature = "postgres")]
            InboxUrl::Postgres(url) => f.write_str(&url.shown),
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
