//! Validation of a scheme from the configuration.

use http::HeaderName;

use super::{CustomError, CustomScheme, Encoding, Place, Template};
use crate::template::Part;

impl CustomScheme {
    /// Checks the settings, and returns the template of the signed bytes.
    pub(super) fn check(&self) -> Result<Template, CustomError> {
        self.check_headers()?;
        self.check_prefixes()?;
        self.check_separator()?;
        self.check_signed()
    }

    fn check_headers(&self) -> Result<(), CustomError> {
        let headers = [
            ("header", &self.header),
            ("timestamp_header", &self.timestamp_header),
            ("id_header", &self.id_header),
        ];
        for (setting, names) in headers {
            if names.iter().any(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
                return refuse(setting, "is not the name of a header");
            }
            if !names.is_empty() && names.len() != self.header.len() && self.place.is_none() {
                return refuse(setting, "must have as many spellings as header");
            }
        }
        match (&self.place, self.header.is_empty()) {
            (None, true) => {
                return refuse(
                    "header",
                    "is missing; write the name of the signature's header, such as header = \"X-Acme-Signature\"",
                );
            }
            (Some(_), false) => return refuse("place", "and header are both set; remove one"),
            _ => {}
        }
        let times = [
            self.timestamp_prefix.is_some(),
            !self.timestamp_header.is_empty(),
            self.timestamp_place.is_some(),
        ];
        match times {
            [true, true, _] => {
                refuse("timestamp_prefix", "and timestamp_header are both set; remove one")
            }
            [_, true, true] => {
                refuse("timestamp_place", "and timestamp_header are both set; remove one")
            }
            [true, _, true] => {
                refuse("timestamp_place", "and timestamp_prefix are both set; remove one")
            }
            _ => Ok(()),
        }
    }

    fn check_prefixes(&self) -> Result<(), CustomError> {
        let also = self.also.iter().map(|kind| ("prefix", Some(&kind.prefix)));
        let prefixes =
            [("prefix", Some(&self.prefix)), ("timestamp_prefix", self.timestamp_prefix.as_ref())];
        let prefixes = prefixes.into_iter().chain(also);
        for (setting, prefix) in prefixes {
            let is_plain = |prefix: &String| {
                let mut bytes = prefix.bytes();
                bytes.all(|byte| byte == b' ' || byte.is_ascii_graphic())
                    && !prefix.starts_with(' ')
            };
            if !prefix.is_none_or(is_plain) {
                return refuse(setting, "must be ASCII text that does not begin with a space");
            }
        }
        let Some(timestamp) = &self.timestamp_prefix else { return Ok(()) };
        if timestamp.starts_with(&self.prefix) || self.prefix.starts_with(timestamp) {
            return refuse(
                "timestamp_prefix",
                "and prefix cannot be distinguished; write both as in the header, such as \"t=\" and \"v1=\"",
            );
        }
        if self.separator.is_none() {
            return refuse("timestamp_prefix", "needs a separator; write separator = \",\"");
        }
        Ok(())
    }

    fn check_separator(&self) -> Result<(), CustomError> {
        let Some(separator) = self.separator else { return Ok(()) };
        let punctuates = separator == ' ' || separator.is_ascii_punctuation();
        if !punctuates || self.encoding.has(separator) {
            return refuse("separator", "must be a character that no signature has, such as \",\"");
        }
        let is_in = |prefix: &String| prefix.contains(separator);
        if is_in(&self.prefix) || self.timestamp_prefix.as_ref().is_some_and(is_in) {
            return refuse("separator", "is in a prefix too, so no entry could begin with it");
        }
        Ok(())
    }

    fn check_signed(&self) -> Result<Template, CustomError> {
        let refused = |reason: String| CustomError { setting: "signed", reason };
        let wrong = |reason: &str| Err(refused(reason.to_owned()));
        let signed = Template::parse(&self.signed).map_err(|error| refused(error.to_string()))?;
        let timed = !self.timestamp_header.is_empty() || self.timestamp_prefix.is_some();
        let covers = |part: &Part| {
            let in_body = matches!(part, Part::Place(place) if place.is_in_body());
            in_body || matches!(part, Part::Body | Part::Form | Part::Members(_))
        };
        let is_in_query = self.place.as_deref().is_some_and(|place| place.starts_with("query:"));
        if is_in_query && signed.parts().any(|part| matches!(part, Part::Query | Part::Url)) {
            return wrong(
                "has the query in it, in which the signature is itself; name the parameters, such as {query:id}",
            );
        }
        if let Some(digest) = &self.body_digest {
            let digest = Place::parse(digest);
            let is_it = |part: &Part| match part {
                Part::Place(Place::Header(name)) => {
                    matches!(&digest, Ok(Place::Header(own)) if own.eq_ignore_ascii_case(name))
                }
                Part::Place(place) => digest.as_ref() == Ok(place),
                Part::Url | Part::Query => matches!(digest, Ok(Place::Query(_))),
                _ => false,
            };
            if !signed.has_plain(is_it) {
                return wrong(
                    "does not have the place of body_digest in it, so that the body is not signed; write that place in braces, or {url} for a query parameter",
                );
            }
        }
        if signed.has_hmac() {
            return wrong("has a filter in it that needs the key; it is for answers");
        }
        if signed.count(&Part::Body) > 1 {
            return wrong("has {body} in it more than once");
        }
        if !signed.parts().any(covers) && self.body_digest.is_none() {
            return wrong("covers nothing of the body; write signed = \"{body}\"");
        }
        match (signed.count(&Part::Id), !self.id_header.is_empty()) {
            (1, true) | (0, false) => {}
            (0, true) => return wrong("lacks {id}, though id_header is set"),
            (_, true) => return wrong("has {id} in it more than once"),
            _ => return wrong("has {id} in it; name its header: id_header = \"…\""),
        }
        match (signed.count(&Part::Timestamp), timed) {
            (1, true) | (0, false) => {}
            (0, true) => return wrong("lacks {timestamp}, though its header or prefix is set"),
            (_, true) => return wrong("has {timestamp} in it more than once"),
            (1, false) if self.timestamp_place.is_some() => {}
            _ => {
                return wrong(
                    "has {timestamp} in it; name its header or prefix: timestamp_header = \"…\" or timestamp_prefix = \"t=\"",
                );
            }
        }
        Ok(signed)
    }
}

impl Encoding {
    /// True if a signature may contain this punctuation.
    fn has(self, punctuation: char) -> bool {
        match self {
            Encoding::Hex | Encoding::HexUpper => false,
            Encoding::Base64 => "+/=".contains(punctuation),
            Encoding::Base64Url => "-_".contains(punctuation),
        }
    }
}

fn refuse<T>(setting: &'static str, reason: &str) -> Result<T, CustomError> {
    Err(CustomError { setting, reason: reason.to_owned() })
}
