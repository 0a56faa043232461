//! A scripted Extension API for handlers' unit tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{ExtensionApi, ExtensionCall, ExtensionCause, ExtensionTransport};
use crate::hook::Representation;

type Answer = Result<Representation, ExtensionCause>;

/// A scripted Extension API for a handler's unit test: answers, and a record of the calls.
///
/// ```
/// # use webhook_receiver::ExtensionScript;
/// # async fn test() -> anyhow::Result<()> {
/// let script = ExtensionScript::answers("{}");
/// script.api().post_event("RankEarnedEvent", &serde_json::json!({"Rank": 7})).await?;
/// assert_eq!(script.asked()[0].method, "PostEvent");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ExtensionScript {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<ExtensionCall>>,
}

impl ExtensionScript {
    /// Answers every call with this JSON.
    pub fn answers(json: &str) -> Arc<Self> {
        Self::in_turn([Ok(json)])
    }

    /// Fails every call for this reason, e.g. `ExtensionCause::status(404, "")`.
    pub fn fails(cause: ExtensionCause) -> Arc<Self> {
        Self::in_turn([Err(cause)])
    }

    /// Answers one attempt after the other, with JSON or a failure; the last answer is for all further ones.
    pub fn in_turn<'j>(
        answers: impl IntoIterator<Item = Result<&'j str, ExtensionCause>>,
    ) -> Arc<Self> {
        let answers = answers.into_iter();
        let answers = answers.map(|json| json.map(|json| Representation::json(json.to_owned())));
        Arc::new(ExtensionScript {
            answers: Mutex::new(answers.collect()),
            asked: Mutex::default(),
        })
    }

    /// The client that calls it.
    pub fn api(self: &Arc<Self>) -> ExtensionApi {
        ExtensionApi::new(Arc::<Self>::clone(self))
    }

    /// The calls so far, one for each attempt.
    pub fn asked(&self) -> Vec<ExtensionCall> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl ExtensionTransport for ExtensionScript {
    async fn attempt(&self, call: &ExtensionCall, _: Instant) -> Answer {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let last = answers.len() <= 1;
        let answer = if last { answers.front().cloned() } else { answers.pop_front() };
        answer.unwrap_or_else(|| Ok(Representation::json("{}")))
    }
}
