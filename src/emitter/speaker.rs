//! As whom the emitter speaks: a dialect's senders, or anyone who signs by a scheme.

use std::str::FromStr;

use crate::event::Dialect;
use crate::signature::{Scheme, schemes};

/// As whom to speak.
#[derive(Debug, Clone)]
pub(super) enum Speaker {
    /// As the senders of a dialect do.
    Dialect(Dialect),
    /// As anyone who signs by a scheme that no dialect is named after.
    Scheme(Scheme),
}

impl Speaker {
    /// The dialect, if that is what it is.
    pub(super) fn dialect(&self) -> Option<Dialect> {
        match self {
            Speaker::Dialect(dialect) => Some(*dialect),
            Speaker::Scheme(_) => None,
        }
    }

    /// How it signs, if it does.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        match self {
            Speaker::Dialect(dialect) => scheme_of(*dialect),
            Speaker::Scheme(scheme) => Some(scheme.clone()),
        }
    }
}

/// How a dialect's senders sign, if they do.
pub(super) fn scheme_of(dialect: Dialect) -> Option<Scheme> {
    dialect.scheme().and_then(Scheme::named)
}

impl FromStr for Speaker {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(dialect) = Dialect::from_name(name) {
            return Ok(Speaker::Dialect(dialect));
        }
        Scheme::named(name).map(Speaker::Scheme).ok_or_else(|| {
            let mut known: Vec<String> = Dialect::ALL.iter().map(ToString::to_string).collect();
            known.extend(schemes().into_iter().map(|scheme| scheme.name));
            known.sort();
            known.dedup();
            format!("known are {}", known.join(", "))
        })
    }
}
