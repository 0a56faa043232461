//! Differences of a request from one that would have been accepted.

use std::fmt;

use super::verify_error::Skew;
use super::{Label, Rewritten, Unit, VerifyError};

/// A difference of a request from one that would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A part of the proof is in another header.
    Header {
        /// The part.
        part: &'static str,
        /// The header of the request.
        found: String,
        /// The header of the scheme.
        expected: String,
    },
    /// The label before the signature differs.
    Label {
        /// The label of the request.
        found: Label,
        /// The label of the scheme.
        expected: String,
    },
    /// The encoding of the signature differs.
    Writing {
        /// The encoding of the request.
        found: &'static str,
        /// The encoding of the scheme.
        expected: &'static str,
    },
    /// The signature is valid, but too old or too early.
    Skew(Skew),
    /// The unit of the timestamp differs.
    Unit {
        /// The unit of the request.
        found: Unit,
        /// The unit of the scheme.
        expected: Unit,
    },
    /// The signed string differs from the scheme's template.
    Signed {
        /// The template that was signed.
        found: String,
        /// The template of the scheme.
        expected: String,
    },
    /// The body was signed in another form.
    Body(Rewritten),
    /// The signature is valid, but in a form that the scheme refuses.
    Form(VerifyError),
}

impl Unit {
    pub(super) const fn other(self) -> Unit {
        match self {
            Unit::Seconds => Unit::Milliseconds,
            Unit::Milliseconds | Unit::Rfc3339 => Unit::Seconds,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::Rfc3339 => "RFC 3339",
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Header { part, found, expected } => {
                write!(f, "the {part} is in the {found} header, not in {expected}")
            }
            Difference::Label { found: Label::Known(found), expected } if expected.is_empty() => {
                write!(f, "the signature has the prefix {found:?}, and none is expected")
            }
            Difference::Label { expected, .. } if expected.is_empty() => {
                f.write_str("the signature has a prefix, and none is expected")
            }
            Difference::Label { found: Label::Known(found), expected } => {
                write!(f, "the signature has the prefix {found:?}, and {expected:?} is expected")
            }
            Difference::Label { found: Label::Unknown, expected } => {
                write!(f, "the signature has another prefix than {expected:?}")
            }
            Difference::Label { expected, .. } => {
                write!(f, "the signature has no prefix, and {expected:?} is expected")
            }
            Difference::Writing { found, expected } => {
                write!(f, "the signature is written in {found}, and {expected} is expected")
            }
            Difference::Skew(skew) => write!(
                f,
                "the signature is right, but its timestamp is {skew}: a clock is wrong, or the request was delayed or replayed"
            ),
            Difference::Unit { found, expected } => write!(
                f,
                "the timestamp is in {}, and it is expected in {}",
                found.as_str(),
                expected.as_str()
            ),
            Difference::Signed { found, expected } if found == "{body}" => {
                write!(f, "only the body is signed, and {expected:?} is expected")
            }
            Difference::Signed { found, expected } => {
                write!(f, "{found:?} is signed, and {expected:?} is expected")
            }
            Difference::Body(form) => form.fmt(f),
            Difference::Form(unproven) => write!(f, "the signature is right, but {unproven}"),
        }
    }
}
