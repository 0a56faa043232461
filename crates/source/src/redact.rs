//! Redaction of recorded bodies: the values of named members, at any depth.

use bytes::Bytes;
use serde_json::value::RawValue;

use text::json::{escape_unpaired_surrogates, without_bom};

/// The default names of redacted members: payment, credentials, and government ids. A leading `*` matches any
/// beginning; `_` and `-` in a member's name do not count.
pub const SECRET_MEMBERS: [&str; 16] = [
    "paymentmethodid",
    "*token",
    "*cardnumber",
    "*accountnumber",
    "*routingnumber",
    "iban",
    "cvv",
    "cvc",
    "*securitycode",
    "*password",
    "*secret",
    "ssn",
    "*socialsecuritynumber",
    "*taxid",
    "*apikey",
    "authorization",
];

/// The body as JSON text with `"[redacted]"` for the values of the members in `names`: at any depth, in any case, with
/// a leading `*` for any beginning. Everything else stays as it is, byte for byte.
///
/// A body that is not JSON is replaced by its length, because its content is unknown.
pub fn redacted(body: &[u8], names: &[String]) -> Bytes {
    let json = serde_json::from_slice::<&RawValue>(without_bom(body)).ok();
    match json.and_then(|json| without(json.get(), names)) {
        Some(text) => text.into(),
        None => format!("\"[not JSON: {} bytes]\"", body.len()).into(),
    }
}

/// Scans from string to string: only a name is followed by a colon. The cost is linear in the length, at any depth.
fn without(mut json: &str, names: &[String]) -> Option<String> {
    let mut text = String::with_capacity(json.len());
    while let Some(quote) = json.find('"') {
        let string = first(&json[quote..])?;
        let behind = &json[quote + string.len()..];
        let value = behind.trim_start().strip_prefix(':').map(str::trim_start);
        let secret = value.filter(|_| is_named(string, names));
        let rest = secret.map_or(behind, |value| value);
        text.push_str(&json[..json.len() - rest.len()]);
        json = rest;
        if let Some(value) = secret {
            text.push_str("\"[redacted]\"");
            json = &value[first(value)?.len()..];
        }
    }
    text.push_str(json);
    Some(text)
}

/// The JSON value at the beginning of a text.
fn first(json: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
    Some(values.next()?.ok()?.get())
}

/// True if a member's name, as written in the text, is one of the names.
fn is_named(string: &str, names: &[String]) -> bool {
    let Ok(member) = serde_json::from_str::<String>(&escape_unpaired_surrogates(string)) else {
        return false;
    };
    let member: Vec<u8> = member.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).collect();
    names.iter().any(|name| match name.strip_prefix('*').map(|end| end.replace(['_', '-'], "")) {
        Some(end) => member
            .len()
            .checked_sub(end.len())
            .is_some_and(|begin| member[begin..].eq_ignore_ascii_case(end.as_bytes())),
        None => member.eq_ignore_ascii_case(name.replace(['_', '-'], "").as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn redact(json: &str) -> String {
        let redacted = redacted(json.as_bytes(), &names(&SECRET_MEMBERS));
        String::from_utf8(redacted.to_vec()).unwrap()
    }

    #[test]
    fn what_pays_is_not_kept_at_any_depth_in_any_case_of_any_kind() {
        for (json, expected) in [
            (r#"{"PaymentMethodId":"_T"}"#, r#"{"PaymentMethodId":"[redacted]"}"#),
            (
                r#"{"paymentMETHODid" : 7.50 , "a":1}"#,
                r#"{"paymentMETHODid" : "[redacted]" , "a":1}"#,
            ),
            (r#"[{"A":[{"CVV":null}]}]"#, r#"[{"A":[{"CVV":"[redacted]"}]}]"#),
            (r#"{"Ssn":{"a":["}\"",2]},"b":true}"#, r#"{"Ssn":"[redacted]","b":true}"#),
            (
                r#"{"PageToken":[[1],"x"],"Token":"y"}"#,
                r#"{"PageToken":"[redacted]","Token":"[redacted]"}"#,
            ),
            (r#"{"FederalTaxId":-1e3}"#, r#"{"FederalTaxId":"[redacted]"}"#),
            (r#"{"\u0043vv":1}"#, r#"{"\u0043vv":"[redacted]"}"#),
            (
                r#"{"card_number":1,"API-Key":2}"#,
                r#"{"card_number":"[redacted]","API-Key":"[redacted]"}"#,
            ),
        ] {
            assert_eq!(redact(json), expected);
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        for json in [
            r#"{ "Total":1.50,	"Big":12345678901234567890.10, "X":1e400 , "E":"\u00e9\/\ud800" }"#,
            r#"{"TaxClassId":0,"TokenId":1,"Note":"\"Cvv\":1","List":["Password","Ssn"],"":""}"#,
            r#"{"\ud800Token\ud800":1}"#,
            "\"Password\"",
            "[]",
            "7",
        ] {
            assert_eq!(redact(json), json);
        }
        assert_eq!(redact(" \n{}\t"), "{}", "but for the space around it");
    }

    #[test]
    fn of_what_is_not_json_only_the_length_is_kept() {
        for body in [&b"Password=hush"[..], b"", b"{\"Cvv\":1", b"{} {}", b"\"\xff\"", b"NaN"] {
            let expected = format!("\"[not JSON: {} bytes]\"", body.len());
            assert_eq!(redacted(body, &names(&SECRET_MEMBERS)), expected);
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = |inner: &str| {
            let levels = 100_000;
            format!("{}{inner}{}", "[{\"a\":".repeat(levels), "}]".repeat(levels))
        };
        assert_eq!(redact(&deep(r#"{"Cvv":123}"#)), deep(r#"{"Cvv":"[redacted]"}"#));
    }

    #[test]
    fn only_the_given_names_count() {
        let redacted = redacted(br#"{"Cvv":1,"Email":2}"#, &names(&["email"]));
        assert_eq!(redacted, r#"{"Cvv":1,"Email":"[redacted]"}"#);
    }

    /// Any JSON, with named members among the others.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC*".prop_map(Value::from),
            "[\"\\\\:,{}a]*".prop_map(Value::from),
        ];
        let name = prop_oneof![Just("Cvv".to_owned()), Just("xTOKEN".to_owned()), "[\"\\\\:a]*"];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    /// The same, on the value instead of its text.
    fn model(value: Value) -> Value {
        let secret = |name: &str| matches!(name, "Cvv" | "xTOKEN");
        match value {
            Value::Array(items) => items.into_iter().map(model).collect(),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| {
                    let value = if secret(&name) { json!("[redacted]") } else { model(value) };
                    (name, value)
                });
                Value::Object(members.collect())
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn it_does_to_the_text_what_one_would_do_to_the_value(value in any_json(), pretty: bool) {
            let text = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            let left: Value = serde_json::from_str(&redact(&text)).unwrap();
            prop_assert_eq!(left, model(value));
            prop_assert_eq!(redacted(text.as_bytes(), &[]), text);
        }

        #[test]
        fn any_bytes_become_json(body: Vec<u8>) {
            let left = redacted(&body, &names(&SECRET_MEMBERS));
            prop_assert!(serde_json::from_slice::<&RawValue>(&left).is_ok());
        }
    }
}
