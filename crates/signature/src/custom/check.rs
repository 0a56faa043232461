//! Validation of a scheme from the configuration.

use http::HeaderName;

use super::{CustomError, CustomScheme, Encoding};

impl CustomScheme {
    pub(super) fn check(&self) -> Result<(), CustomError> {
        self.check_headers()?;
        self.check_prefixes()?;
        self.check_separator()?;
        self.check_signed()
    }

    fn check_headers(&self) -> Result<(), CustomError> {
        let headers = [
            ("header", Some(&self.header)),
            ("timestamp_header", self.timestamp_header.as_ref()),
            ("id_header", self.id_header.as_ref()),
        ];
        for (setting, name) in headers {
            if name.is_some_and(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
                return refuse(setting, "is not the name of a header");
            }
        }
        if self.timestamp_prefix.is_some() && self.timestamp_header.is_some() {
            return refuse("timestamp_prefix", "and timestamp_header are both set; remove one");
        }
        Ok(())
    }

    fn check_prefixes(&self) -> Result<(), CustomError> {
        let prefixes =
            [("prefix", Some(&self.prefix)), ("timestamp_prefix", self.timestamp_prefix.as_ref())];
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

    fn check_signed(&self) -> Result<(), CustomError> {
        let timed = self.timestamp_header.is_some() || self.timestamp_prefix.is_some();
        let wrong = |reason| refuse("signed", reason);
        if self.signed.matches("{body}").count() != 1 {
            return wrong("must have {body} in it once; write signed = \"{body}\"");
        }
        match (self.signed.matches("{id}").count(), self.id_header.is_some()) {
            (1, true) | (0, false) => {}
            (0, true) => return wrong("lacks {id}, though id_header is set"),
            (_, true) => return wrong("has {id} in it more than once"),
            _ => return wrong("has {id} in it; name its header: id_header = \"…\""),
        }
        match (self.signed.matches("{timestamp}").count(), timed) {
            (1, true) | (0, false) => {}
            (0, true) => return wrong("lacks {timestamp}, though its header or prefix is set"),
            (_, true) => return wrong("has {timestamp} in it more than once"),
            _ => {
                return wrong(
                    "has {timestamp} in it; name its header or prefix: timestamp_header = \"…\" or timestamp_prefix = \"t=\"",
                );
            }
        }
        let known = ["{id}", "{timestamp}", "{body}"];
        let literal = known.iter().fold(self.signed.clone(), |text, name| text.replace(name, " "));
        match literal.contains(['{', '}']) {
            true => wrong("may have only {id}, {timestamp} and {body} in braces"),
            false => Ok(()),
        }
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

fn refuse(setting: &'static str, reason: &str) -> Result<(), CustomError> {
    Err(CustomError { setting, reason: reason.to_owned() })
}
