//! What came back for one request, and who answered it.

use std::time::Duration;

use contract::canary::CanaryReport;
use contract::event::DeliveryId;
use contract::time::Timestamp;
use http::header::{DATE, HeaderMap, HeaderName, LOCATION, SERVER};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use text::field;
use text::inert;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request's fate.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// The answer, or why there is none.
    pub(super) result: Result<Answer, String>,
    /// From the first byte sent to the last byte read.
    pub(super) took: Duration,
    /// When it was over.
    pub(super) at: Timestamp,
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The body of an answer to a delivery that is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    pub(super) status: String,
    pub(super) delivery_id: DeliveryId,
}

impl Seen {
    pub(super) fn status(&self) -> Option<u16> {
        self.result.as_ref().ok().map(|answer| answer.status.as_u16())
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.result.as_ref().is_ok_and(|answer| answer.status.is_success())
    }

    /// Whether something that takes requests of this sort answered, accepted or not.
    pub(super) fn is_taken(&self) -> bool {
        self.status().is_some_and(|status| !matches!(status, 300..400 | 404 | 405 | 502..))
    }

    /// The answer to a delivery, if it was one.
    pub(super) fn kept(&self) -> Option<Kept> {
        serde_json::from_slice(&self.result.as_ref().ok().filter(|_| self.is_accepted())?.body).ok()
    }

    /// What the receiver saw of a probe, if it tells.
    pub(super) fn echo(&self) -> Option<CanaryReport> {
        #[derive(Deserialize)]
        struct Echoed {
            canary: CanaryReport,
        }
        let body = &self.result.as_ref().ok().filter(|_| self.is_accepted())?.body;
        serde_json::from_slice(body).ok().map(|Echoed { canary }| canary)
    }

    /// What the receiver says to a sender whom it knows, but does not understand.
    pub(super) fn detail(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let body = &self.result.as_ref().ok()?.body;
        serde_json::from_slice(body).ok().map(|Problem { detail }| shown(&detail))
    }

    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.result.as_ref().ok()?.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn location(&self) -> Option<&str> {
        self.header(&LOCATION)
    }

    /// The id under which this program's receiver logs the request.
    pub(super) fn request_id(&self) -> Option<&str> {
        let is_id = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        self.header(&REQUEST_ID).filter(is_id)
    }

    /// The clock of whoever answered.
    pub(super) fn date(&self) -> Option<Timestamp> {
        field::parse_date(self.header(&DATE)?)
    }

    /// Whether this program's receiver answered, and not something before it.
    pub(super) fn is_receivers(&self) -> bool {
        self.request_id().is_some()
    }

    /// Who answered.
    pub(super) fn who(&self) -> String {
        match self.header(&SERVER) {
            _ if self.is_receivers() => "the receiver".to_owned(),
            Some(server) => shown(server),
            None => "something that gives no name".to_owned(),
        }
    }

    /// The answer in a few words.
    pub(super) fn told(&self) -> String {
        match (&self.result, self.status()) {
            (Ok(_), Some(status)) => format!("{status} from {}", self.who()),
            (Err(cause), _) => format!("no answer: {cause}"),
            (Ok(_), None) => "no status".to_owned(),
        }
    }
}

/// A stranger's text, short and without what could steer a terminal.
pub(super) fn shown(text: &str) -> String {
    inert(&text.chars().take(80).collect::<String>()).into_owned()
}

impl Answer {
    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }
}
