//! How a request may differ from one that would have been accepted.

use std::fmt;

use super::verify::Skew;
use super::{Label, Rewritten, Unit, Unproven};

/// How a request differs from one that would have been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A part of the proof stands in another header.
    Header {
        /// Which part.
        part: &'static str,
        /// Where it stands.
        found: String,
        /// Where the scheme looks.
        expected: String,
    },
    /// Something else stands before the signature.
    Label {
        /// What stands there.
        found: Label,
        /// What the scheme looks for.
        expected: String,
    },
    /// The signature is written in another way.
    Writing {
        /// How it is written.
        found: &'static str,
        /// How the scheme writes.
        expected: &'static str,
    },
    /// Right, but too old or too early.
    Skew(Skew),
    /// The timestamp is written in another unit.
    Unit {
        /// How it is written.
        found: Unit,
        /// How the scheme writes.
        expected: Unit,
    },
    /// Something else than the scheme says is signed.
    Signed {
        /// What is signed.
        found: String,
        /// What the scheme says.
        expected: String,
    },
    /// The body had another form when it was signed.
    Body(Rewritten),
    /// Right, but in a form that the scheme refuses.
    Form(Unproven),
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
                write!(f, "the {part} stands in the {found} header, not in {expected}")
            }
            Difference::Label { found: Label::Known(found), expected } if expected.is_empty() => {
                write!(
                    f,
                    "the signature stands behind {found:?}, and nothing is expected before it"
                )
            }
            Difference::Label { expected, .. } if expected.is_empty() => f.write_str(
                "the signature stands behind something, and nothing is expected before it",
            ),
            Difference::Label { found: Label::Known(found), expected } => {
                write!(f, "the signature stands behind {found:?}, and {expected:?} is expected")
            }
            Difference::Label { found: Label::Unknown, expected } => {
                write!(f, "the signature stands behind something else than {expected:?}")
            }
            Difference::Label { expected, .. } => {
                write!(f, "the signature stands alone, and {expected:?} is expected before it")
            }
            Difference::Writing { found, expected } => {
                write!(f, "the signature is written in {found}, and {expected} is expected")
            }
            Difference::Skew(skew) => write!(
                f,
                "the signature is right, but its timestamp is {skew}: a clock is wrong, or the request was held up or sent again"
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
