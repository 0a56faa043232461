//! Calls of the vendor's services, and the delivery of the events that they post.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use client::client;
use contract::extension::is_post_event;
use http::StatusCode;
use reqwest::Client;
use settings::Config;
use source::{Fact, KeyPlace};

use super::tokens::CallbackRefusal;
use crate::attempt::execute;
use crate::message::{Message, fresh_id};
use crate::proof::Proof;
use crate::target;

/// The path of services, below the base URL.
pub(super) const SERVICES: &str = "api/extension/services/";

/// The time limit of the vendor's deliveries.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The part of a receiver's answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// A call of a service and its answer.
#[derive(Debug, Clone)]
pub struct ServiceRecord {
    /// The service in the path.
    pub service: String,
    /// Its method.
    pub method: String,
    /// The body of the call.
    pub request: Bytes,
    /// The reason of the refusal, if it was refused.
    pub refusal: Option<CallbackRefusal>,
    /// The answer: status and body.
    pub answer: (StatusCode, Bytes),
}

impl ServiceRecord {
    /// The custom event that was posted and accepted. The vendor does not document the form in which it is delivered: here
    /// it is the one in which it was posted.
    pub fn posted_event(&self) -> Option<&Bytes> {
        let is_posted =
            self.answer.0 == StatusCode::OK && is_post_event(&self.service, &self.method);
        is_posted.then_some(&self.request)
    }
}

/// The service and its method in a path below [`SERVICES`].
pub(super) fn service(path: &str) -> Option<(&str, &str)> {
    let mut parts = path.split('/');
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        (service, "v1", method, None) if !service.is_empty() && !method.is_empty() => {
            Some((service, method))
        }
        _ => None,
    }
}

/// Delivers posted events to the configured receiver, as the vendor delivers them to their subscribers.
#[derive(Debug, Clone)]
pub struct PostedEvents {
    client: Client,
    message: Message,
}

impl PostedEvents {
    /// Deliveries to this source of the settings, with its first key.
    ///
    /// # Errors
    /// If the source has no key, or no client can be set up.
    pub fn new(config: &Config, name: &str) -> anyhow::Result<Self> {
        let source = config.sources.get(name).with_context(|| format!("no [sources.{name}]"))?;
        let url = target::all_events(config.listen, &source.path)?;
        let key = source.bearer_keys(name)?.into_iter().next();
        let place = source.key_places(name)?.into_iter().next().unwrap_or(KeyPlace::Bearer);
        let proof = Proof::new(key.as_ref(), None, None)?.with_key_at(place);
        let places = Arc::new(source.field_locators(name)?);
        let mut message = Message::new("", url, places, Arc::new(proof), Bytes::new());
        message.set_fact(Fact::ClientId, "dev")?;
        Ok(PostedEvents { client: client(false, Some(TIME_LIMIT))?, message })
    }

    /// Delivers the event once, under a new message id.
    ///
    /// # Errors
    /// The reason for a missing answer.
    pub async fn deliver(&self, event: Bytes) -> Result<StatusCode, String> {
        let mut message = self.message.clone();
        message.body = event;
        let request = message
            .set_fact(Fact::MessageId, &fresh_id())
            .and_then(|()| message.request())
            .map_err(|error| format!("{error:#}"))?;
        Ok(execute(&self.client, request, ANSWER_LIMIT).await?.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_its_method() {
        let path = "AssociateService/v1/GetAssociate";
        assert_eq!(service(path), Some(("AssociateService", "GetAssociate")));
        for other in ["", "A", "A/v1", "A/v1/", "/v1/B", "A/v2/B", "A/v1/B/C", "A/v1/B/"] {
            assert_eq!(service(other), None, "{other}");
        }
    }
}
