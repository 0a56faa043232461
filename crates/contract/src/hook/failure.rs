//! Why a call has no response, and what its caller is told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a handler has no response. Any error turns into one through `?`.
///
/// It is deliberately not an error type itself.
#[derive(Debug)]
pub enum HookFailure {
    /// The vendor's user is told this and no more.
    Told(String),
    /// The vendor's user is told an id only, and the log has the reason beside it. What the vendor's own logic answered
    /// with 500 is handed on as it is.
    Failed(anyhow::Error),
}

impl HookFailure {
    /// A failure with words for the vendor's user: `Err(HookFailure::tell("This item is sold out."))`.
    pub fn tell(message: impl Into<String>) -> Self {
        HookFailure::Told(message.into())
    }
}

impl<E: Into<anyhow::Error>> From<E> for HookFailure {
    fn from(error: E) -> Self {
        HookFailure::Failed(error.into())
    }
}

/// An error in the vendor's own shape, answered with 500. Source: the vendor's client model; the shape is not documented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RemoteError {
    /// The error itself.
    pub disco_remote_exception: DiscoRemoteException,
}

/// What failed, for the vendor's user and its administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DiscoRemoteException {
    /// Eight characters, under which the log tells more.
    #[schema(example = "3f9a61c2")]
    pub error_id: String,
    /// What the vendor's user is shown.
    #[schema(example = "The hook has failed. (Error Id: 3f9a61c2)")]
    pub error_message: String,
    /// Always empty: where in the code it happened is nobody else's business.
    pub remote_stack_trace: Vec<String>,
    /// Always empty.
    pub internal_stack_trace: String,
}

impl RemoteError {
    /// An error with a message, which is completed by the id.
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
