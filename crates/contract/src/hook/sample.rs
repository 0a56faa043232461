//! Sample calls for handlers' unit tests, with a scripted vendor.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use super::callback::{Callback, CallbackRequest, TraceSlot, UntypedCallback};
use super::{
    CallbackError, Hook, HookCall, HookMeta, Representation, UntypedCall, Vendor, decoded,
};
use crate::effect::Deferrer;
use crate::event::{DecodeError, Environment};
use crate::time::Timestamp;

/// A scripted vendor for a handler's unit test: one response, and a record of the request.
#[derive(Debug)]
pub struct Script {
    answer: Result<Representation, CallbackError>,
    asked: Mutex<Option<Bytes>>,
}

impl Script {
    /// Responds with this JSON.
    pub fn answers(json: &str) -> Arc<Self> {
        Script::new(Ok(Representation::json(json.to_owned())))
    }

    /// Fails with this error.
    pub fn fails(error: CallbackError) -> Arc<Self> {
        Script::new(Err(error))
    }

    fn new(answer: Result<Representation, CallbackError>) -> Arc<Self> {
        Arc::new(Script { answer, asked: Mutex::new(None) })
    }

    /// The JSON of the callback's request; `None` if the handler did not proceed.
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
        let call = UntypedCall::sample(H::ID, json, vendor);
        let request = decoded(&call.body)?;
        let UntypedCall { meta, callback, deferrer, .. } = call;
        Ok(HookCall { meta, request, callback: Callback::new(callback), deferrer })
    }
}

impl UntypedCall {
    /// A call with the given JSON text, for tests of code that handles any hook.
    pub fn sample(hook: &str, json: &str, vendor: Arc<dyn Vendor>) -> Self {
        let meta = HookMeta {
            hook: hook.into(),
            source: "sample".into(),
            environment: Environment::Stage,
            user: None,
            received_at: Timestamp::UNIX_EPOCH,
            deadline: Instant::now() + Duration::from_secs(20),
        };
        let callback = UntypedCallback {
            vendor,
            hook: meta.hook.clone(),
            token: HeaderValue::from_static("sample"),
            user: None,
            deadline: meta.deadline,
            trace: TraceSlot::default(),
        };
        let deferrer = Deferrer::recording(&meta.source, meta.environment);
        UntypedCall { meta, body: Bytes::copy_from_slice(json.as_bytes()), callback, deferrer }
    }
}
