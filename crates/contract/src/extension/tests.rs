//! Tests of calls through a scripted API: what is sent, what is retried, and what a handler's failure is.

use anyhow::Context as _;
use serde_json::json;

use super::*;
use crate::event::{Failure, Json};
use crate::hook::HookFailure;

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn retry_after(status: u16, seconds: u64) -> ExtensionCause {
    let retry_after = Some(Duration::from_secs(seconds));
    ExtensionCause::Status { status, retry_after, body: Bytes::new() }
}

async fn get(script: &Arc<ExtensionScript>) -> Result<Open<Json>, ExtensionError> {
    script.api().call_idempotent("AssociateService", "GetAssociate", &json!({})).await
}

async fn set(script: &Arc<ExtensionScript>) -> Result<Open<Json>, ExtensionError> {
    script.api().call("AssociateService", "SetAssociate", &json!({})).await
}

/// The failure of a handler that calls with `?`, with a context of its own.
async fn failure(cause: ExtensionCause) -> Failure {
    async fn handler(api: ExtensionApi) -> Result<(), Failure> {
        let body = json!({});
        api.call::<Json>("A", "B", &body).await.context("the associate is not known")?;
        Ok(())
    }
    handler(ExtensionScript::fails(cause).api()).await.unwrap_err()
}

#[tokio::test]
async fn json_is_sent_and_returned_digit_for_digit() {
    let script = ExtensionScript::answers(r#"{"Balance":12345678901234567.890}"#);
    let body = json(r#"{"associateId":2,"x":1.50}"#);
    let balance: Open<Json> = script.api().call("WalletService", "Get", &body).await.unwrap();
    assert_eq!(balance.get(), r#"{"Balance":12345678901234567.890}"#);
    let [call] = script.asked().try_into().unwrap();
    assert_eq!((call.service.as_str(), call.method.as_str()), ("WalletService", "Get"));
    assert_eq!(call.body, r#"{"associateId":2,"x":1.50}"#);
}

#[tokio::test]
async fn a_custom_event_has_its_type_and_its_time_and_keeps_its_digits() {
    let script = ExtensionScript::answers("no JSON");
    let event = json(r#"{"Rank":7,"Points":1.50}"#);
    script.api().post_event("RankEarnedEvent", &event).await.unwrap();
    let [call] = script.asked().try_into().unwrap();
    assert!(is_post_event(&call.service, &call.method) && !call.is_idempotent);
    let body = String::from_utf8(call.body.to_vec()).unwrap();
    assert!(body.contains(r#""EventType":"RankEarnedEvent""#), "{body}");
    assert!(body.contains(r#""EventDateUtc":"2"#) && body.contains(r#""Points":1.50"#), "{body}");
}

#[tokio::test]
async fn a_custom_events_own_type_and_time_stay_and_only_an_object_is_one() {
    let script = ExtensionScript::answers("{}");
    let event = json(r#"{"EventDateUtc":"2026-01-01T00:00:00Z","eventType":"Own"}"#);
    script.api().post_event("Other", &event).await.unwrap();
    assert_eq!(script.asked()[0].body, event.get());
    let error = script.api().post_event("Other", &7).await.unwrap_err();
    assert!(matches!(error.cause(), ExtensionCause::NotJson(_)), "{error}");
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_an_idempotent_call_is_repeated() {
    let broken = || ExtensionCause::Unreachable("reset".into());
    let busy = || ExtensionCause::status(503, "");
    let script = ExtensionScript::in_turn([Err(broken()), Err(busy()), Ok("[1]")]);
    assert_eq!(get(&script).await.unwrap().get(), "[1]");
    assert_eq!(script.asked().len(), 3);
    for cause in [broken(), busy(), ExtensionCause::TimedOut] {
        let script = ExtensionScript::in_turn([Err(cause.clone()), Ok("[1]")]);
        assert_eq!(set(&script).await.unwrap_err().cause(), &cause);
        assert_eq!(script.asked().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn repetition_ends_at_the_time_limit_and_at_what_does_not_pass() {
    let script = ExtensionScript::fails(ExtensionCause::status(500, ""));
    let start = Instant::now();
    get(&script).await.unwrap_err();
    assert!(start.elapsed() <= TIME_LIMIT, "{:?}", start.elapsed());
    assert!((6..14).contains(&script.asked().len()), "{}", script.asked().len());
    for status in [302, 400, 401, 404, 501] {
        let script = ExtensionScript::fails(ExtensionCause::status(status, ""));
        get(&script).await.unwrap_err();
        assert_eq!(script.asked().len(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_if_there_is_time() {
    let script = ExtensionScript::in_turn([Err(retry_after(429, 7)), Ok("{}")]);
    let start = Instant::now();
    get(&script).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let script = ExtensionScript::in_turn([Err(retry_after(429, 60)), Ok("{}")]);
    assert_eq!(get(&script).await.unwrap_err().cause(), &retry_after(429, 60));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_rate_limit_leaves_no_time_for_is_not_sent() {
    let script = ExtensionScript::answers("{}");
    let api = script.api().rate_limit(NonZeroU32::MIN).time_limit(Duration::from_millis(500));
    api.call::<Json>("A", "B", &()).await.unwrap();
    let error = api.clone().call::<Json>("A", "B", &()).await.unwrap_err();
    assert_eq!((error.cause(), script.asked().len()), (&ExtensionCause::RateLimit, 1));
}

#[tokio::test]
async fn a_failure_becomes_the_handlers_of_the_right_kind() {
    for status in [400, 404, 405, 409, 413, 422] {
        let failure = failure(ExtensionCause::status(status, "{}")).await;
        assert!(matches!(failure, Failure::Reject { .. }), "{status}: {failure:?}");
    }
    for status in [302, 401, 403, 408, 429, 500, 501, 503] {
        let failure = failure(ExtensionCause::status(status, "{}")).await;
        assert!(matches!(failure, Failure::Retry { after: None, .. }), "{status}: {failure:?}");
    }
    for passing in [ExtensionCause::TimedOut, ExtensionCause::Unreachable("x".into())] {
        assert!(matches!(failure(passing).await, Failure::Retry { after: None, .. }));
    }
    for (asked, followed) in [(90, 90), (10_000_000, 86_400)] {
        for status in [429, 503] {
            let Failure::Retry { after, .. } = failure(retry_after(status, asked)).await else {
                panic!("{status} is retried")
            };
            assert_eq!(after, Some(Duration::from_secs(followed)));
        }
    }
    let other: Failure = anyhow::anyhow!("the pool is empty").into();
    assert!(matches!(other, Failure::Retry { after: None, .. }));
}

#[tokio::test]
async fn in_a_hook_it_is_an_internal_failure() {
    let script = ExtensionScript::fails(ExtensionCause::status(404, ""));
    let failure: HookFailure = set(&script).await.unwrap_err().into();
    assert!(matches!(failure, HookFailure::Internal(_)));
}

#[tokio::test]
async fn a_message_names_the_call_and_has_the_vendors_text_inert_and_short() {
    let text = format!("no \u{1b}[31massociate {}", "é".repeat(1000));
    let error = set(&ExtensionScript::fails(ExtensionCause::status(400, text))).await.unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("AssociateService.SetAssociate: answered 400: no \\u001b[31m"));
    assert!(error.chars().count() < 400, "{error}");
    let refused = ExtensionScript::fails(ExtensionCause::status(401, "Bearer secret"));
    let error = set(&refused).await.unwrap_err().to_string();
    assert!(error.contains("refused with 401: callback_key") && !error.contains("secret"));
}

#[tokio::test]
async fn a_name_that_would_change_the_path_is_not_sent() {
    let script = ExtensionScript::answers("{}");
    for (service, method) in [("", "A"), ("..", "A"), ("A", "B/../C"), ("A?", "B"), ("A", "B%2e")] {
        let error = script.api().call::<Json>(service, method, &()).await.unwrap_err();
        assert_eq!(error.cause(), &ExtensionCause::Name, "{service} {method}");
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn a_response_that_does_not_fit_is_rejected_with_its_path() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Associate {
        #[expect(dead_code, reason = "only its type matters")]
        associate_id: i64,
    }
    let script = ExtensionScript::answers(r#"{"AssociateId":{}}"#);
    let result = script.api().call::<Associate>("AssociateService", "GetAssociate", &()).await;
    let error = result.unwrap_err();
    assert!(error.to_string().contains("AssociateId"), "{error}");
    assert!(error.cause().is_final());
}
