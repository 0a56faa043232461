//! A date as .NET writes it: with an offset, without one, or never set.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::Timestamp;

/// A .NET `DateTime` in ISO 8601, with any number of fractional digits.
///
/// Parsing yields [`Unset`](Self::Unset) for .NET's default value, so it is never taken for an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetDateTime {
    /// `2021-10-12T18:07:26.557768Z`: an instant.
    WithOffset(DateTime<FixedOffset>),
    /// `2021-10-12T18:07:26.557768`: a clock reading in an unknown time zone.
    WithoutOffset(NaiveDateTime),
    /// `0001-01-01T00:00:00`, with any offset: .NET's value of a date that was never set.
    Unset,
}

/// The accepted forms, for the error message.
const EXAMPLES: &str = "2022-03-04T12:00:00Z, 2022-03-04T12:00:00 or 2022-03-04";

/// What senders write, as a regular expression for the OpenAPI document.
const PATTERN: &str = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?)?$";

const UNSET: NaiveDateTime = NaiveDate::from_ymd_opt(1, 1, 1)
    .expect("the first day of year 1 exists")
    .and_time(NaiveTime::MIN);

impl NetDateTime {
    /// The instant in UTC, if the date is set. Without an offset it is taken as UTC, in line with the fields' names.
    pub fn to_utc(&self) -> Option<Timestamp> {
        match self {
            NetDateTime::WithOffset(date) => Some(date.to_utc()),
            NetDateTime::WithoutOffset(date) => Some(date.and_utc()),
            NetDateTime::Unset => None,
        }
    }

    /// True if the date is not .NET's default value.
    pub fn is_set(&self) -> bool {
        *self != NetDateTime::Unset
    }
}

impl fmt::Display for NetDateTime {
    /// ISO 8601 of the same kind, as .NET writes it: an offset only if one was received, a fraction without trailing
    /// zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetDateTime::WithOffset(date) => {
                f.write_str(&unpadded(&date.to_rfc3339_opts(SecondsFormat::AutoSi, true)))
            }
            NetDateTime::WithoutOffset(date) => f.write_str(&unpadded(&format!("{date:?}"))),
            NetDateTime::Unset => write!(f, "{UNSET:?}"),
        }
    }
}

/// Normalized text: dashes in the date, then `T` or nothing, and a point before a fraction. `24:00` becomes `00:00`,
/// with one day to add.
fn normal(text: &str) -> (String, Days) {
    let mut text = text.replacen(',', ".", 1);
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.insert(6, '-');
        text.insert(4, '-');
    }
    if let Some(" ") = text.get(10..11) {
        text.replace_range(10..11, "T");
    }
    let is_midnight = |time: &str| {
        let time = time.strip_prefix(":00").map_or(time, |time| {
            time.strip_prefix('.').map_or(time, |fraction| fraction.trim_start_matches('0'))
        });
        !time.starts_with(|c: char| c.is_ascii_digit() || c == ':')
    };
    let time = text.get(10..).and_then(|time| time.strip_prefix(['T', 't'])?.strip_prefix("24:00"));
    let is_next_day = time.is_some_and(is_midnight);
    if is_next_day {
        text.replace_range(11..13, "00");
    }
    (text, Days::new(is_next_day.into()))
}

/// The date without trailing zeros in its fraction.
fn unpadded(date: &str) -> String {
    let Some((whole, rest)) = date.split_once('.') else { return date.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, offset) = rest.split_at(end);
    format!("{whole}.{}{offset}", fraction.trim_end_matches('0'))
}

impl FromStr for NetDateTime {
    type Err = chrono::ParseError;

    /// ISO 8601 in its common forms: with `T` or a blank, with seconds or without, with an offset (`Z`, `+02:00`,
    /// `+0200`, `+02`) or without; a date alone, also as `20220304`, is the beginning of the day. A fraction may have a
    /// comma, and `24:00:00` is the beginning of the next day.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, days) = normal(text.trim());
        let offset = DateTime::parse_from_rfc3339(&text)
            .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%#z"))
            .or_else(|_| DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M%#z"));
        let (date, clock) = match offset {
            Ok(date) => (NetDateTime::WithOffset(date + days), date.naive_local() + days),
            Err(_) => {
                let clock: NaiveDateTime = text.parse().or_else(|error| {
                    NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M")
                        .or_else(|_| text.parse::<NaiveDate>().map(NaiveDateTime::from))
                        .map_err(|_| error)
                })?;
                let clock = clock + days;
                (NetDateTime::WithoutOffset(clock), clock)
            }
        };
        Ok(if clock == UNSET { NetDateTime::Unset } else { date })
    }
}

impl<'de> Deserialize<'de> for NetDateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            D::Error::custom(format_args!("not an ISO 8601 date such as {EXAMPLES}: {error}"))
        })
    }
}

impl Serialize for NetDateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for NetDateTime {
    fn schema() -> RefOr<Schema> {
        Object::builder()
            .schema_type(Type::String)
            // `format: date-time` would demand an offset, and clients would cut the seventh digit.
            .pattern(Some(PATTERN))
            .description(Some(
                "ISO 8601 with up to 7 fractional digits. Without an offset it is taken as UTC; \
                 `0001-01-01T00:00:00` means that the date was never set.",
            ))
            .examples(["2021-10-12T18:07:26.557768Z"])
            .into()
    }
}

impl ToSchema for NetDateTime {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::decode;

    fn date(text: &str) -> NetDateTime {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn utc(text: &str) -> String {
        date(text).to_utc().unwrap().to_rfc3339_opts(SecondsFormat::Nanos, true)
    }

    #[test]
    fn an_offset_is_honoured_and_its_absence_is_utc() {
        assert_eq!(utc("2022-03-04T12:00:00+02:00"), "2022-03-04T10:00:00.000000000Z");
        assert_eq!(utc("2022-03-04T12:00:00Z"), "2022-03-04T12:00:00.000000000Z");
        assert_eq!(utc("2022-03-04T12:00:00"), "2022-03-04T12:00:00.000000000Z");
    }

    #[test]
    fn every_common_form_of_iso_8601_is_read() {
        for (text, instant) in [
            ("2022-03-04", "2022-03-04T00:00:00.000000000Z"),
            ("2022-03-04 12:00:00", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04 12:00:00.5", "2022-03-04T12:00:00.500000000Z"),
            ("2022-03-04 12:00", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04T12:00", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04T12:00Z", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04t12:00:00z", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04T12:00:00+0000", "2022-03-04T12:00:00.000000000Z"),
            ("2022-03-04T12:00:00.1234567+0200", "2022-03-04T10:00:00.123456700Z"),
            ("2022-03-04T12:00:00-02", "2022-03-04T14:00:00.000000000Z"),
            ("2022-03-04 12:00:00 +02:00", "2022-03-04T10:00:00.000000000Z"),
            ("2022-03-04 12:00:00 +0200", "2022-03-04T10:00:00.000000000Z"),
            ("2022-03-04 12:00:00Z", "2022-03-04T12:00:00.000000000Z"),
            (" 2022-03-04T12:00:00 ", "2022-03-04T12:00:00.000000000Z"),
            ("20220304", "2022-03-04T00:00:00.000000000Z"),
            ("2022-03-04T12:00:00,5Z", "2022-03-04T12:00:00.500000000Z"),
            ("2022-03-04 12:00:00,1234567+0200", "2022-03-04T10:00:00.123456700Z"),
            ("2022-03-04T24:00:00", "2022-03-05T00:00:00.000000000Z"),
            ("2022-12-31T24:00:00.000Z", "2023-01-01T00:00:00.000000000Z"),
            ("2022-03-04 24:00 +02:00", "2022-03-04T22:00:00.000000000Z"),
        ] {
            assert_eq!(utc(text), instant, "{text}");
            assert_eq!(date(&date(text).to_string()), date(text), "{text}");
        }
        assert!(date("0001-01-01T24:00:00").is_set());
        for text in ["0001-01-01", "0001-01-01 00:00:00", "0001-01-01T00:00:00+0000"] {
            assert_eq!(date(text), NetDateTime::Unset, "{text}");
        }
    }

    #[test]
    fn any_number_of_fractional_digits_is_read() {
        for digits in 1..=9 {
            let fraction = &"123456789"[..digits];
            let expected = format!("2022-03-04T12:00:00.{fraction:0<9}Z");
            assert_eq!(utc(&format!("2022-03-04T12:00:00.{fraction}")), expected);
            assert_eq!(utc(&format!("2022-03-04T12:00:00.{fraction}Z")), expected);
        }
    }

    #[test]
    fn the_default_value_is_unset_whatever_its_offset() {
        for text in
            ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.0000000-07:00"]
        {
            assert_eq!(date(text), NetDateTime::Unset);
            assert_eq!(date(text).to_utc(), None);
        }
        assert!(date("0001-01-01T00:00:00.0000001").is_set());
    }

    #[test]
    fn the_largest_value_is_a_date_like_any_other() {
        assert_eq!(utc("9999-12-31T23:59:59.9999999"), "9999-12-31T23:59:59.999999900Z");
        assert_eq!(utc("9999-12-31T23:59:59.9999999Z"), "9999-12-31T23:59:59.999999900Z");
        assert!(date("9999-12-31T23:59:59.9999999-07:00").to_utc().is_some());
    }

    #[test]
    fn a_date_is_written_as_net_writes_it() {
        for text in [
            "2022-03-04T00:00:00",
            "0001-01-01T00:00:00",
            "2022-03-04T10:15:30.497",
            "2021-10-12T18:07:27.8181496Z",
            "2021-10-12T18:07:27.5-07:00",
        ] {
            assert_eq!(date(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_date_says_so() {
        for json in ["\"\"", "\"yesterday\"", "\"2022-13-04T00:00:00\"", "1646395200", "null"] {
            assert!(decode::<NetDateTime>(json.as_bytes()).is_err(), "{json}");
        }
        for date in [
            "2022-W09-5",
            "2022W095",
            "2022-063",
            "2022063",
            "20221304",
            "2022-03-04T24:00:01",
            "2022-03-04T24:01",
            "2022-03-04T24:00:00.001",
            "2022-03-04T25:00:00",
            "2022-03-04T12:00:00,5,5",
            "2022,03-04",
        ] {
            let error = decode::<NetDateTime>(format!("\"{date}\"").as_bytes()).unwrap_err();
            assert!(error.message.contains("such as 2022-03-04T12:00:00Z"), "{error}");
        }
    }

    prop_compose! {
        fn clock()(
            (year, month, day) in (1i32..=9999, 1u32..=12, 1u32..=28),
            seconds in 0u32..86_400,
            ticks in 0u32..10_000_000,
        ) -> NaiveDateTime {
            let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, ticks * 100).unwrap();
            NaiveDate::from_ymd_opt(year, month, day).unwrap().and_time(time)
        }
    }

    proptest! {
        #[test]
        fn every_date_means_the_same_when_written_and_read(clock in clock(), minutes in -840i32..=840) {
            let without = clock.format("%Y-%m-%dT%H:%M:%S%.9f").to_string();
            let without = &without[..without.len() - 2];
            let (sign, distance) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            let with = format!("{without}{sign}{:02}:{:02}", distance / 60, distance % 60);
            for text in [without, &with] {
                prop_assert_eq!(date(&date(text).to_string()), date(text));
            }
            if date(&with).is_set() {
                let instant = date(&with).to_utc().unwrap().naive_utc();
                prop_assert_eq!((clock - instant).num_minutes(), i64::from(minutes));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(
            text in "\\PC*",
            digits in "[+-]?[0-9]{1,6}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(\\.[0-9]{0,12})?( ?Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?",
        ) {
            for text in [text, digits] {
                if let Ok(date) = text.parse::<NetDateTime>() {
                    let _ = (date.to_utc(), date.to_string());
                }
            }
        }
    }
}
