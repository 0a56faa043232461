//! The sender that the emitter imitates: a dialect's senders, or any sender that signs by a scheme.

use std::str::FromStr;

use contract::event::Dialect;
use settings::{AuthKind, SourceConfig};
use signature::{MessageParameters, RFC_9421, Scheme, TokenRule, schemes};

/// The sender to imitate.
#[derive(Debug, Clone)]
pub enum SendAs {
    /// The senders of a dialect.
    Dialect(Dialect),
    /// Any sender that signs by this method, which no dialect is named after.
    Scheme(SigningMethod),
}

/// A method of signing.
#[derive(Debug, Clone)]
pub enum SigningMethod {
    /// A scheme of the table.
    Scheme(Box<Scheme>),
    /// HTTP message signatures (RFC 9421).
    HttpMessage(MessageParameters),
    /// A JSON Web Token.
    Token(Box<TokenRule>),
}

impl SendAs {
    /// The dialect, if one is imitated.
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            SendAs::Dialect(dialect) => Some(*dialect),
            SendAs::Scheme(_) => None,
        }
    }

    /// The method of signing, if the sender signs.
    pub fn signing_method(&self) -> Option<SigningMethod> {
        match self {
            SendAs::Dialect(dialect) => SigningMethod::of(*dialect),
            SendAs::Scheme(style) => Some(style.clone()),
        }
    }
}

impl SigningMethod {
    /// The method by which a dialect's senders sign, if they do.
    pub fn of(dialect: Dialect) -> Option<Self> {
        SigningMethod::named(dialect.as_str())
    }

    /// The method by which a configured source's sender signs, if it does.
    ///
    /// # Errors
    /// If its settings are invalid.
    pub fn of_source(name: &str, source: &SourceConfig) -> anyhow::Result<Option<Self>> {
        match source.auth_kind() {
            AuthKind::Jwt => Ok(Some(SigningMethod::Token(Box::new(source.demands(name)?)))),
            kind if kind.has_signature() => SigningMethod::of_sender(name, source),
            _ => Ok(None),
        }
    }

    /// The method by which the sender of such a source signs if it has a key to sign with.
    ///
    /// # Errors
    /// If its settings are invalid.
    pub fn of_sender(name: &str, source: &SourceConfig) -> anyhow::Result<Option<Self>> {
        let describes = source.scheme.is_some() || source.signature.is_some();
        if !describes && source.token_rule().is_some() {
            return Ok(Some(SigningMethod::Token(Box::new(source.demands(name)?))));
        }
        if source.signs_messages() {
            return Ok(Some(SigningMethod::HttpMessage(source.message.clone())));
        }
        Ok(source.scheme(name)?.map(|row| SigningMethod::Scheme(Box::new(row))))
    }

    /// The method called `name`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            RFC_9421 => Some(SigningMethod::HttpMessage(MessageParameters::default())),
            name => Scheme::named(name).map(|row| SigningMethod::Scheme(Box::new(row))),
        }
    }
}

impl FromStr for SendAs {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(dialect) = Dialect::from_name(name) {
            return Ok(SendAs::Dialect(dialect));
        }
        SigningMethod::named(name).map(SendAs::Scheme).ok_or_else(|| {
            let mut known: Vec<String> = Dialect::ALL.iter().map(ToString::to_string).collect();
            known.extend(schemes().iter().map(|scheme| scheme.name.clone()));
            known.push(RFC_9421.into());
            known.sort();
            known.dedup();
            format!("known are {}", known.join(", "))
        })
    }
}
