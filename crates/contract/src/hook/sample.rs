//! Calls for the unit tests of handlers, with the vendor's own logic played from a script.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use super::callback::{Callback, CallbackRequest, Ticket, Trace};
use super::{Call, CallbackError, Hook, HookCall, HookMeta, Representation, Vendor, decoded};
use crate::event::{DecodeError, Environment};
use crate::time::Timestamp;

/// The vendor's own logic in a handler's unit test: it answers one thing and remembers what it was asked.
#[derive(Debug)]
pub struct Script {
    answer: Result<Representation, CallbackError>,
    asked: Mutex<Option<Bytes>>,
}

impl Script {
    /// Answers this JSON.
    pub fn answers(json: &str) -> Arc<Self> {
        Script::new(Ok(Representation::json(json.to_owned())))
    }

    /// Fails in this way.
    pub fn fails(error: CallbackError) -> Arc<Self> {
        Script::new(Err(error))
    }

    fn new(answer: Result<Representation, CallbackError>) -> Arc<Self> {
        Arc::new(Script { answer, asked: Mutex::new(None) })
    }

    /// The JSON that it was asked; `None` if the handler did not proceed.
    pub fn asked(&self) -> Option<Bytes> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Vendor for Script {
    async fn run(&self, callback: CallbackRequest<'_>) -> Result<Representation, CallbackError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(callback.body);
        self.answer.clone()
    }
}

impl<H: Hook> HookCall<H> {
    /// The hook's own example as a call, for a handler's unit test.
    ///
    /// # Errors
    /// [`DecodeError`] if the example does not fit the model.
    pub fn example(vendor: Arc<dyn Vendor>) -> Result<Self, DecodeError> {
        Self::sample(H::example(), vendor)
    }

    /// A call with the given JSON text, for a handler's unit test.
    ///
    /// # Errors
    /// [`DecodeError`] if the text does not fit the model.
    pub fn sample(json: &str, vendor: Arc<dyn Vendor>) -> Result<Self, DecodeError> {
        let call = Call::sample(H::ID, json, vendor);
        let request = decoded(&call.body)?;
        Ok(HookCall { meta: call.meta, request, callback: Callback::new(call.ticket) })
    }
}

impl Call {
    /// A call with the given JSON text, for tests of what handles any hook.
    pub fn sample(hook: &str, json: &str, vendor: Arc<dyn Vendor>) -> Self {
        let meta = HookMeta {
            hook: hook.into(),
            source: "sample".into(),
            environment: Environment::Stage,
            user: None,
            received_at: Timestamp::UNIX_EPOCH,
            deadline: Instant::now() + Duration::from_secs(20),
        };
        let ticket = Ticket {
            vendor,
            hook: meta.hook.clone(),
            token: HeaderValue::from_static("sample"),
            user: None,
            deadline: meta.deadline,
            trace: Trace::default(),
        };
        Call { meta, body: Bytes::copy_from_slice(json.as_bytes()), ticket }
    }
}
