//! The result of one request, and the server that answered it.

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

/// The result of one request.
#[derive(Debug, Clone)]
pub(super) struct ProbeResult {
    /// The response, or the reason why there is none.
    pub(super) result: Result<ProbeResponse, String>,
    /// The time from the first byte sent to the last byte read.
    pub(super) took: Duration,
    /// The time at which it was over.
    pub(super) at: Timestamp,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct ProbeResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The body of a response to an accepted delivery.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcceptedBody {
    pub(super) status: String,
    pub(super) delivery_id: DeliveryId,
}

impl ProbeResult {
    pub(super) fn status(&self) -> Option<u16> {
        self.result.as_ref().ok().map(|answer| answer.status.as_u16())
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.result.as_ref().is_ok_and(|answer| answer.status.is_success())
    }

    /// True if a server that takes such requests answered, accepting or refusing.
    pub(super) fn takes_requests(&self) -> bool {
        self.status().is_some_and(|status| !matches!(status, 300..400 | 404 | 405 | 502..))
    }

    /// The body of the response, if it accepts a delivery.
    pub(super) fn accepted_body(&self) -> Option<AcceptedBody> {
        serde_json::from_slice(&self.result.as_ref().ok().filter(|_| self.is_accepted())?.body).ok()
    }

    /// The canary report of the receiver, if there is one.
    pub(super) fn echo(&self) -> Option<CanaryReport> {
        #[derive(Deserialize)]
        struct CanaryBody {
            canary: CanaryReport,
        }
        let body = &self.result.as_ref().ok().filter(|_| self.is_accepted())?.body;
        serde_json::from_slice(body).ok().map(|CanaryBody { canary }| canary)
    }

    /// The detail of the receiver's problem document, if there is one.
    pub(super) fn detail(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let body = &self.result.as_ref().ok()?.body;
        serde_json::from_slice(body).ok().map(|Problem { detail }| excerpt(&detail))
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

    /// The clock of the server that answered.
    pub(super) fn date(&self) -> Option<Timestamp> {
        field::parse_date(self.header(&DATE)?)
    }

    /// True if this program's receiver answered, and not a proxy.
    pub(super) fn is_receivers(&self) -> bool {
        self.request_id().is_some()
    }

    /// The server that answered.
    pub(super) fn answered_by(&self) -> String {
        match self.header(&SERVER) {
            _ if self.is_receivers() => "the receiver".to_owned(),
            Some(server) => excerpt(server),
            None => "an unnamed server".to_owned(),
        }
    }

    /// The result in a few words.
    pub(super) fn summary(&self) -> String {
        match (&self.result, self.status()) {
            (Ok(_), Some(status)) => format!("{status} from {}", self.answered_by()),
            (Err(cause), _) => format!("no answer: {cause}"),
            (Ok(_), None) => "no status".to_owned(),
        }
    }
}

/// An excerpt of untrusted text, short and without terminal control characters.
pub(super) fn excerpt(text: &str) -> String {
    inert(&text.chars().take(80).collect::<String>()).into_owned()
}

impl ProbeResponse {
    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).map(HeaderValue::to_str)?.ok()
    }
}
