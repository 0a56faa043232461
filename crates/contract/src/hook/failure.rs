//! Failures of a call, and the vendor's error format.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The failure of a handler. Any error converts into one through `?`.
///
/// It is deliberately not an error type itself.
#[derive(Debug)]
pub enum HookFailure {
    /// The message for the vendor's user; nothing else is shown.
    UserMessage(String),
    /// The vendor's user is shown an error id only, and the log has the reason under that id. A 500 of the vendor's own
    /// logic is forwarded as it is.
    Internal(anyhow::Error),
}

impl HookFailure {
    /// A failure with a message for the vendor's user: `Err(HookFailure::user_message("This item is sold out."))`.
    pub fn user_message(message: impl Into<String>) -> Self {
        HookFailure::UserMessage(message.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for HookFailure {
    fn from(error: E) -> Self {
        HookFailure::Internal(error.into())
    }
}

/// An error in the vendor's format, with status 500. Source: the vendor's client model; the format is not documented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RemoteError {
    /// The error itself.
    pub disco_remote_exception: DiscoRemoteException,
}

/// The details of an error, for the vendor's user and its administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DiscoRemoteException {
    /// The error id, eight characters long; the log has the reason under it.
    #[schema(example = "3f9a61c2")]
    pub error_id: String,
    /// The message for the vendor's user.
    #[schema(example = "The hook has failed. (Error Id: 3f9a61c2)")]
    pub error_message: String,
    /// Always empty: the location in the code is not disclosed.
    pub remote_stack_trace: Vec<String>,
    /// Always empty.
    pub internal_stack_trace: String,
}

impl RemoteError {
    /// An error with a message; the id is appended to it.
    pub fn new(id: &str, message: &str) -> Self {
        RemoteError {
            disco_remote_exception: DiscoRemoteException {
                error_id: id.to_owned(),
                error_message: format!("{message} (Error Id: {id})"),
                remote_stack_trace: Vec::new(),
                internal_stack_trace: String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_vendors_shape() {
        assert_eq!(
            serde_json::to_string(&RemoteError::new("3f9a61c2", "Sold out.")).unwrap(),
            concat!(
                r#"{"DiscoRemoteException":{"ErrorId":"3f9a61c2","ErrorMessage":"Sold out. (Error Id: 3f9a61c2)","#,
                r#""RemoteStackTrace":[],"InternalStackTrace":""}}"#
            )
        );
    }
}
