//! The behaviour of the mock vendor: correct, or one of a vendor's failures.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use contract::hook::RemoteError;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::set;

/// The behaviour of the mock vendor.
#[derive(Debug, Clone)]
pub struct VendorBehaviour {
    /// The response to a callback.
    pub logic: Logic,
    /// The delay before the response.
    pub delay: Duration,
    /// The lifetime of a token.
    pub token_life: Duration,
    /// True if a page's user is named in an object, not as a bare string; the vendor's own code has both.
    pub user_in_object: bool,
}

impl Default for VendorBehaviour {
    fn default() -> Self {
        VendorBehaviour {
            logic: Logic::Echo,
            delay: Duration::ZERO,
            token_life: Duration::from_secs(300),
            user_in_object: false,
        }
    }
}

/// The response of the vendor's own logic to a callback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Logic {
    /// 200 with the hook's sample response, under a new id.
    #[default]
    Echo,
    /// 200 with this body.
    Given(Bytes),
    /// 500 with the vendor's error body.
    Error,
    /// 401 for every token, good or not.
    Refuse,
    /// The connection is closed without an answer.
    HangUp,
    /// The connection is closed half-way through the answer.
    Cut,
    /// 200 with something that is not JSON.
    Garbage,
    /// 200 with JSON that is no hook's response.
    Alien,
}

/// The named responses; anything else is a file with the response.
const NAMED: [(&str, Logic); 7] = [
    ("echo", Logic::Echo),
    ("error", Logic::Error),
    ("refuse", Logic::Refuse),
    ("hang-up", Logic::HangUp),
    ("cut", Logic::Cut),
    ("garbage", Logic::Garbage),
    ("alien", Logic::Alien),
];

impl FromStr for Logic {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let named = NAMED.into_iter().find(|(known, _)| *known == name);
        named.map(|(_, logic)| logic).ok_or(())
    }
}

impl Logic {
    /// The status and the body of the response, empty for a refusal; `sample` is the sample response of the hook's own
    /// logic, `id` the number of the created object.
    pub(super) fn answer(&self, sample: &'static str, id: u64) -> (StatusCode, Bytes) {
        match self {
            Logic::Echo | Logic::Cut => (StatusCode::OK, renumbered(sample, id).into()),
            Logic::Given(body) => (StatusCode::OK, body.clone()),
            Logic::Error => (StatusCode::INTERNAL_SERVER_ERROR, error(id)),
            Logic::Refuse | Logic::HangUp => (StatusCode::OK, Bytes::new()),
            Logic::Garbage => (StatusCode::OK, Bytes::from_static(b"<html>Welcome</html>")),
            Logic::Alien => (StatusCode::OK, Bytes::from_static(br#"["nothing that is known"]"#)),
        }
    }
}

/// The sample with the new id in its top-level ids, if they are numbers; every other byte stays.
fn renumbered(sample: &str, id: u64) -> String {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(sample).unwrap_or_default();
    let is_id = |name: &str| name.ends_with("Id") || name.ends_with("Number");
    let ids = members.iter().filter(|(name, old)| is_id(name) && old.get().parse::<u64>().is_ok());
    ids.fold(sample.to_owned(), |text, (name, _)| {
        set::put(&text, &[name.as_str()], &id.to_string()).unwrap_or(text)
    })
}

fn error(id: u64) -> Bytes {
    let mut error = RemoteError::new(&format!("{id:08x}"), "The item is not available.");
    error.disco_remote_exception.remote_stack_trace = vec!["at Vendor.Logic()".into()];
    error.disco_remote_exception.internal_stack_trace = "at Vendor.Logic()".into();
    serde_json::to_vec(&error).map(Bytes::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ids_of_the_response_itself_are_new() {
        let sample = r#"{"OrderNumber": 1, "Order": {"AssociateId": 2}, "BackOfficeId": "A3", "Total": 1.50}"#;
        assert_eq!(renumbered(sample, 1001), sample.replace("\": 1,", "\": 1001,"));
        assert_eq!(renumbered("{}", 1001), "{}");
        assert_eq!(renumbered("[1]", 1001), "[1]");
    }

    #[test]
    fn what_has_a_name_is_no_file() {
        for (name, logic) in NAMED {
            assert_eq!(name.parse(), Ok(logic));
        }
        assert_eq!("echo.json".parse::<Logic>(), Err(()));
    }
}
