//! Codes of a documented set: enums that take a number or a name and keep unknown values.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::Id;

/// An enum of codes, backed by a table.
pub trait Codes: Sized + Clone + PartialEq + 'static {
    /// The description of the codes, in one sentence.
    const ABOUT: &'static str;

    /// Each code with its number and its name.
    const TABLE: &'static [(Self, i64, &'static str)];

    /// A code that the table does not have.
    fn other(text: String) -> Self;

    /// The code for a number, for digits in a string, or for a name in any case.
    fn of(text: &str) -> Self {
        let wanted = text.trim();
        let known = Self::TABLE.iter().find(|(_, number, name)| {
            name.eq_ignore_ascii_case(wanted) || number.to_string() == wanted
        });
        known.map_or_else(|| Self::other(text.to_owned()), |(code, ..)| code.clone())
    }

    /// The code's row of the table: its number and its name.
    fn row(&self) -> Option<(i64, &'static str)> {
        let row = Self::TABLE.iter().find(|(code, ..)| code == self);
        row.map(|(_, number, name)| (*number, *name))
    }

    /// The schema of a field that holds such a code.
    fn described() -> RefOr<Schema> {
        let codes: Vec<_> =
            Self::TABLE.iter().map(|(_, number, name)| format!("{name} {number}")).collect();
        let about = Self::ABOUT.trim().trim_end_matches('.');
        Object::builder()
            .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
            .description(Some(format!(
                "{about}, by name or number: {}. Case does not matter; other values are kept.",
                codes.join(", ")
            )))
            .examples(Self::TABLE.iter().take(2).map(|(_, number, _)| *number))
            .into()
    }
}

/// Declares an enum of codes with their numbers: `codes! { /// About. Size { /// Doc. Small = 0, } }`.
///
/// It reads a number, digits in a string or a name in any case; `Other` holds any other value. Its first doc line is
/// its description in Swagger, completed by the codes.
#[macro_export]
macro_rules! codes {
    (
        #[doc = $about:literal]
        $(#[$more:meta])*
        $name:ident { $($(#[$doc:meta])* $code:ident = $number:literal,)+ }
    ) => {
        #[doc = $about]
        $(#[$more])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $code,)+
            /// An unknown code, as received.
            Other(String),
        }

        impl $crate::event::Codes for $name {
            const ABOUT: &'static str = $about;
            const TABLE: &'static [(Self, i64, &'static str)] =
                &[$(($name::$code, $number, stringify!($code)),)+];

            fn other(text: String) -> Self {
                $name::Other(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok($crate::event::Codes::of(text))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match (self, $crate::event::Codes::row(self)) {
                    ($name::Other(text), _) => f.pad(text),
                    (_, Some((_, name))) => f.pad(name),
                    (code, None) => write!(f, "{code:?}"),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::event::scalar::read(deserializer, "a code (number or string)")?;
                Ok($crate::event::Codes::of(&text))
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                <$name as $crate::event::Codes>::described()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
/// A code of a documented set, written as received. Dereferences to the code.
///
/// A code set by a handler, `Frequency::Monthly.into()`, is written as its number.
#[derive(Debug, Clone)]
pub struct Code<T> {
    code: T,
    received: Option<Id>,
}

impl<T> Deref for Code<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.code
    }
}

impl<T> From<T> for Code<T> {
    fn from(code: T) -> Self {
        Code { code, received: None }
    }
}

impl<T: PartialEq> PartialEq for Code<T> {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl<T: PartialEq> PartialEq<T> for Code<T> {
    fn eq(&self, other: &T) -> bool {
        self.code == *other
    }
}

impl<T: fmt::Display> fmt::Display for Code<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)
    }
}

impl<'de, T: Codes> Deserialize<'de> for Code<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let received = Id::deserialize(deserializer)?;
        Ok(Code { code: T::of(received.as_str()), received: Some(received) })
    }
}

impl<T: Codes + fmt::Display> Serialize for Code<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (&self.received, self.code.row()) {
            (Some(received), _) => received.serialize(serializer),
            (None, Some((number, _))) => serializer.serialize_i64(number),
            (None, None) => serializer.collect_str(&self.code),
        }
    }
}

impl<T: PartialSchema> PartialSchema for Code<T> {
    fn schema() -> RefOr<Schema> {
        T::schema()
    }
}

impl<T: ToSchema> ToSchema for Code<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        T::name()
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro's enums are public")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::decode;

    codes! {
        /// The size.
        Size {
            /// Small.
            Small = 0,
            /// Large.
            Large = 7,
        }
    }

    fn code(json: &str) -> Result<Code<Size>, String> {
        decode::<Code<Size>>(json.as_bytes()).map(|(code, _)| code).map_err(|error| error.message)
    }

    fn written<T: Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn a_number_digits_and_a_name_are_the_same_code() {
        for json in ["7", "\"7\"", "\"Large\"", "\"LARGE\""] {
            assert_eq!(code(json).unwrap(), Size::Large, "{json}");
            assert_eq!(serde_json::from_str::<Size>(json).unwrap(), Size::Large);
        }
    }

    #[test]
    fn what_is_not_known_is_kept() {
        for (json, text) in
            [("9", "9"), ("\"Huge\"", "Huge"), ("-1", "-1"), ("7.0", "7.0"), ("\"\"", "")]
        {
            assert_eq!(code(json).unwrap(), Size::Other(text.into()));
        }
        assert!(code("{}").unwrap_err().contains("expected an id"));
        assert!(serde_json::from_str::<Size>("{}").unwrap_err().to_string().contains("a code"));
    }

    #[test]
    fn a_code_is_written_as_it_came_and_a_new_one_as_its_number() {
        for json in ["7", "\"7\"", "\"large\"", "9", "7.0", "\"Huge\""] {
            assert_eq!(written(&code(json).unwrap()), json);
        }
        assert_eq!(written(&Code::from(Size::Large)), "7");
        assert_eq!(written(&Code::from(Size::Other("Huge".into()))), "\"Huge\"");
    }

    #[test]
    fn its_description_names_every_code() {
        let schema = serde_json::to_value(Code::<Size>::schema()).unwrap();
        let says = schema["description"].as_str().unwrap();
        assert!(says.starts_with("The size, by name or number: Small 0, Large 7."), "{says}");
        assert_eq!(Code::<Size>::name(), "Size");
    }

    proptest! {
        #[test]
        fn every_code_comes_back_from_its_text(text: String) {
            let code = code(&serde_json::to_string(&text).unwrap()).unwrap();
            let Ok(again) = code.to_string().parse::<Size>();
            prop_assert_eq!(code, again);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let _ = code(&text);
        }
    }
}
