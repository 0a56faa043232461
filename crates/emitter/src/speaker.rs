//! As whom the emitter speaks: a dialect's senders, or anyone who signs by a scheme.

use std::str::FromStr;

use contract::event::Dialect;
use signature::{RFC_9421, Scheme, schemes};

/// As whom to speak.
#[derive(Debug, Clone)]
pub enum Speaker {
    /// As the senders of a dialect do.
    Dialect(Dialect),
    /// As anyone who signs in a way that no dialect is named after.
    Style(Style),
}

/// How to sign.
#[derive(Debug, Clone)]
pub enum Style {
    /// By a row of the table.
    Row(Box<Scheme>),
    /// By RFC 9421.
    Message,
}

impl Speaker {
    /// The dialect, if that is what it is.
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            Speaker::Dialect(dialect) => Some(*dialect),
            Speaker::Style(_) => None,
        }
    }

    /// How it signs, if it does.
    pub fn style(&self) -> Option<Style> {
        match self {
            Speaker::Dialect(dialect) => Style::of(*dialect),
            Speaker::Style(style) => Some(style.clone()),
        }
    }
}

impl Style {
    /// How a dialect's senders sign, if they do.
    pub fn of(dialect: Dialect) -> Option<Self> {
        dialect.scheme().and_then(Style::named)
    }

    /// The way of signing called `name`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            RFC_9421 => Some(Style::Message),
            name => Scheme::named(name).map(|row| Style::Row(Box::new(row))),
        }
    }
}

impl FromStr for Speaker {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(dialect) = Dialect::from_name(name) {
            return Ok(Speaker::Dialect(dialect));
        }
        Style::named(name).map(Speaker::Style).ok_or_else(|| {
            let mut known: Vec<String> = Dialect::ALL.iter().map(ToString::to_string).collect();
            known.extend(schemes().into_iter().map(|scheme| scheme.name));
            known.push(RFC_9421.into());
            known.sort();
            known.dedup();
            format!("known are {}", known.join(", "))
        })
    }
}
