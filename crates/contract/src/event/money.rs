//! An amount of money, exact to the last digit.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::scalar;

/// A decimal amount, read from a JSON number or a numeric string without passing through floating point.
///
/// Trailing zeros are kept (`1.50`). An amount that does not fit (some 28 digits) is an error and never rounded.
/// The currency is a field beside it.
/// It is written as received: a number as a number, text as text. One that is made from a [`Decimal`] is a number.
#[derive(Debug, Clone, Copy)]
pub struct Money {
    amount: Decimal,
    is_text: bool,
}

/// A number that is no money: a count, a weight, a duration. It is as exact as an amount and has the same format.
pub type Quantity = Money;

impl Deref for Money {
    type Target = Decimal;

    fn deref(&self) -> &Decimal {
        &self.amount
    }
}

impl PartialEq for Money {
    fn eq(&self, other: &Self) -> bool {
        self.amount == other.amount
    }
}

impl Eq for Money {}

impl Hash for Money {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.amount.hash(state);
    }
}

impl PartialOrd for Money {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Money {
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.cmp(&other.amount)
    }
}

impl From<Decimal> for Money {
    fn from(amount: Decimal) -> Self {
        Money { amount, is_text: false }
    }
}

impl From<i64> for Money {
    fn from(amount: i64) -> Self {
        Decimal::from(amount).into()
    }
}

impl From<Money> for Decimal {
    fn from(money: Money) -> Self {
        money.amount
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.amount.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (text, is_number) =
            scalar::read_as(deserializer, "an amount (number or numeric string)")?;
        let amount = exact(&text).map_err(D::Error::custom)?;
        Ok(Money { amount, is_text: !is_number })
    }
}

impl Serialize for Money {
    /// A JSON number or a numeric string, with all its digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_text {
            return serializer.collect_str(&self.amount);
        }
        let number = RawValue::from_string(self.amount.to_string()).map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

/// The exact decimal of `text`.
///
/// The parser of scientific notation rounds a mantissa that is too long, so the mantissa is first parsed exactly.
fn exact(text: &str) -> Result<Decimal, String> {
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err("an amount has digits, a sign, a point and an exponent only".to_owned());
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    Decimal::from_str_exact(mantissa)
        .and_then(|plain| match mantissa.len() == text.len() {
            true => Ok(plain),
            false => Decimal::from_scientific(text),
        })
        .map_err(|error| format!("not an amount that can be held exactly: {error}"))
}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(Type::Number)
            .description(Some(
                "An exact decimal amount of up to 28 digits; a numeric string is taken too.",
            ))
            .examples([serde_json::json!(49.95)])
            .into()
    }
}

impl ToSchema for Money {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::event::decode;

    fn money(json: &str) -> Result<Money, String> {
        decode::<Money>(json.as_bytes()).map(|(money, _)| money).map_err(|error| error.message)
    }

    #[test]
    fn amounts_are_exact_to_the_digit() {
        for digits in
            ["1.50", "12345678901234567.89", "0.1", "-3", "20.0", "1234567890123456789012345.678"]
        {
            assert_eq!(money(digits).unwrap().to_string(), digits);
            assert_eq!(money(&format!("\"{digits}\"")).unwrap().to_string(), digits);
        }
    }

    #[test]
    fn an_amount_is_written_as_it_was_read() {
        for digits in ["1.50", "12345678901234567.89", "-3", "0"] {
            assert_eq!(serde_json::to_string(&money(digits).unwrap()).unwrap(), digits);
        }
    }

    #[test]
    fn an_amount_sent_as_text_stays_text() {
        for json in [r#""12.50""#, r#""12345678901234567.89""#, r#""-3""#, r#""0.00""#] {
            assert_eq!(serde_json::to_string(&money(json).unwrap()).unwrap(), json);
        }
        for made in [Money::from(7), Money::from(*money(r#""7""#).unwrap())] {
            assert_eq!(serde_json::to_string(&made).unwrap(), "7", "it was not received");
        }
    }

    #[test]
    fn an_amount_is_the_same_as_text_and_as_a_number() {
        let (text, number) = (money(r#""1.50""#).unwrap(), money("1.5").unwrap());
        assert_eq!((text, text.cmp(&number)), (number, Ordering::Equal));
        assert!(HashSet::from([text]).contains(&number));
    }

    #[test]
    fn scientific_notation_is_exact_too() {
        for (json, value) in
            [("1.5e3", "1500"), ("15E-1", "1.5"), ("1e+2", "100"), ("-2.50e1", "-25.0")]
        {
            assert_eq!(money(json).unwrap().to_string(), value, "{json}");
        }
    }

    #[test]
    fn too_many_digits_are_an_error_and_not_a_rounding() {
        for json in [
            "12345678901234567890123456789.1",
            "0.12345678901234567890123456789",
            "1.2345678901234567890123456789012e0",
            "1e-29",
            "1e29",
        ] {
            assert!(money(json).unwrap_err().contains("exactly"), "{json}");
        }
    }

    #[test]
    fn what_is_no_amount_says_so() {
        for json in
            ["null", "true", "[]", "\"\"", "\"ten\"", "\"1_000\"", "\"1,5\"", "\"1e2e3\"", "\".\""]
        {
            assert!(money(json).unwrap_err().contains("amount"), "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_decimal_comes_back(mantissa in -(1i128 << 95)..(1i128 << 95), scale in 0u32..=28) {
            let amount = Decimal::from_i128_with_scale(mantissa, scale);
            let read = money(&amount.to_string()).unwrap();
            prop_assert_eq!((read.mantissa(), read.scale()), (amount.mantissa(), amount.scale()));
        }

        #[test]
        fn an_exponent_moves_the_point_and_nothing_else(mantissa: i64, power in -9i32..=9) {
            let ten = i128::pow(10, power.unsigned_abs());
            let expected = match power < 0 {
                true => Decimal::from_i128_with_scale(mantissa.into(), power.unsigned_abs()),
                false => Decimal::from_i128_with_scale(i128::from(mantissa) * ten, 0),
            };
            prop_assert_eq!(*money(&format!("{mantissa}e{power}")).unwrap(), expected);
        }

        #[test]
        fn long_numbers_are_held_exactly_or_refused(digits in "-?(0|[1-9][0-9]{0,30})\\.[0-9]{1,30}") {
            if let Ok(money) = money(&digits) {
                prop_assert_eq!(money.abs().to_string(), digits.trim_start_matches('-'));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*", digits in "[-+0-9.eE_]{0,40}") {
            let _ = money(&text);
            let _ = money(&format!("\"{digits}\""));
            let _ = money(&digits);
        }
    }
}
