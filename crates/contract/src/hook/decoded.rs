//! Decoding of hooks' bodies as models.

use serde::de::DeserializeOwned;

use crate::event::{DecodeError, Open, check_objects, decode, needs_object};

/// Decodes a request or a response as its model.
///
/// # Errors
/// [`DecodeError`] if the body does not fit the model, or has too many objects.
pub fn decoded<M: DeserializeOwned>(body: &[u8]) -> Result<Open<M>, DecodeError> {
    if needs_object::<M>() {
        check_objects(body)?;
    }
    decode::<Open<M>>(body).map(|(model, _)| model)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::event::{Json, MAX_OBJECTS};

    /// A model with items that are objects, as every vendor has some.
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Autoship {
        #[expect(dead_code, reason = "only its presence matters")]
        autoship_id: Option<i64>,
        line_items: Option<Vec<LineItem>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct LineItem {
        #[expect(dead_code, reason = "only its presence matters")]
        price: Option<String>,
    }

    #[test]
    fn a_body_that_says_what_it_means_is_read() {
        let json = "\u{feff}{\"AutoshipId\":7,\"LineItems\":[{\"Price\":\"\"}],\"\\ud800\":1}";
        let autoship = decoded::<Autoship>(json.as_bytes()).unwrap();
        assert_eq!(autoship.line_items.as_ref().map(Vec::len), Some(1));
    }

    #[test]
    fn a_body_of_empty_objects_does_not_fill_the_memory() {
        let body = |items: usize| format!(r#"{{"LineItems":[{}{{}}]}}"#, "{},".repeat(items - 1));
        assert!(decoded::<Autoship>(body(MAX_OBJECTS - 1).as_bytes()).is_ok());
        let error = decoded::<Autoship>(body(MAX_OBJECTS).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 20000 objects"), "{error}");
        assert!(decoded::<Json>(body(MAX_OBJECTS).as_bytes()).is_ok(), "it is guard as text");
    }
}
