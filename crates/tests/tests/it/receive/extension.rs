//! The Extension API through real HTTP: what is sent, what is sent again, and what a handler's failure becomes.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::catalog::Catalog;
use contract::event::{Delivery, Json, Open, Outcome};
use contract::extension::{ExtensionApi, ExtensionCause, ExtensionError};
use contract::hook::MAX_RESPONSE_BYTES;
use inbox::State;
use serde_json::json;
use settings::parse;
use vendors::directscale::daily::DailyEvent;

use crate::harness::client::Request;
use crate::harness::receiver::{KEY, Receiver};
use crate::harness::vendor::{Reply, VENDOR_KEY, Vendor};

const BUSY: &str = "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n";
const LATER: &str = "HTTP/1.1 429 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
const GOOD: &str = "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n{}";
const MISSING: &str = "HTTP/1.1 404 X\r\nContent-Length: 13\r\n\r\nno \u{1b}associate";
const REFUSED: &str = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n";
const NONE: &str = "";

type CallResult = Result<Open<Json>, ExtensionError>;

fn settings(vendor: &str) -> String {
    format!(
        "[sources.live]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n\
         [sources.live.hooks]\ncallback_url = \"{vendor}\"\ncallback_key = \"{VENDOR_KEY}\"\n\
         [dispatch]\nschedule = [\"1ms\", \"1ms\"]\n"
    )
}

fn api(vendor: &Vendor) -> ExtensionApi {
    let config = parse(&settings(&vendor.url), [], "test").unwrap();
    ExtensionApi::new(Arc::new(config.extension_client("live").unwrap()))
}

async fn get(api: &ExtensionApi) -> CallResult {
    api.call_idempotent("AssociateService", "GetAssociate", &()).await
}

async fn set(api: &ExtensionApi) -> CallResult {
    api.call("AssociateService", "SetAssociate", &()).await
}

fn cause(result: CallResult) -> ExtensionCause {
    result.unwrap_err().cause().clone()
}

#[tokio::test]
async fn a_call_has_the_documented_path_and_the_other_key_and_keeps_every_digit() {
    let vendor = Vendor::start(Reply::Says(200, r#"{"Balance":12345678901234567.890}"#)).await;
    let body: Json = serde_json::from_str(r#"{"associateId":2,"Amount":1.50,"X":1e400}"#).unwrap();
    let balance: Open<Json> = api(&vendor).call("WalletService", "AddFunds", &body).await.unwrap();
    assert_eq!(balance.get(), r#"{"Balance":12345678901234567.890}"#);
    let [asked] = vendor.asked().try_into().unwrap();
    let line = "POST /api/extension/services/WalletService/v1/AddFunds HTTP/1.1\r\n";
    assert!(asked.head.starts_with(line), "{asked:?}");
    assert_eq!(asked.header("authorization"), Some(&*format!("Bearer {VENDOR_KEY}")));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.body, body.get());
}

#[tokio::test]
async fn what_is_not_idempotent_is_one_request_whatever_happens_to_it() {
    for answer in [&[NONE, GOOD], &[BUSY, GOOD], &[LATER, GOOD]] {
        let vendor = Vendor::start(Reply::InTurn(answer)).await;
        set(&api(&vendor)).await.unwrap_err();
        assert_eq!(vendor.asked().len(), 1, "{answer:?}");
        let vendor = Vendor::start(Reply::InTurn(answer)).await;
        api(&vendor).post_event("RankEarnedEvent", &json!({"Rank": 7})).await.unwrap_err();
        assert_eq!(vendor.asked().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_idempotent_is_never_sent_over_a_connection_that_may_be_closed() {
    let vendor = Vendor::start(Reply::OnceEach("{}")).await;
    let api = api(&vendor);
    for sent in 1..=3 {
        set(&api).await.unwrap();
        assert_eq!(vendor.asked().len(), sent);
    }
}

#[tokio::test]
async fn what_is_idempotent_is_sent_again_until_it_is_answered() {
    let vendor = Vendor::start(Reply::InTurn(&[NONE, BUSY, GOOD])).await;
    assert_eq!(get(&api(&vendor)).await.unwrap().get(), "{}");
    assert_eq!(vendor.asked().len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let vendor = Vendor::start(Reply::InTurn(&[LATER, GOOD])).await;
    let start = Instant::now();
    get(&api(&vendor)).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(vendor.asked().len(), 2);
    let asked = ExtensionCause::Status {
        status: 429,
        retry_after: Some(Duration::from_secs(1)),
        body: "".into(),
    };
    let vendor = Vendor::start(Reply::InTurn(&[LATER])).await;
    assert_eq!(cause(set(&api(&vendor)).await), asked);
}

#[tokio::test]
async fn all_clones_together_keep_to_the_rate() {
    let vendor = Vendor::start(Reply::Says(200, "{}")).await;
    let api = api(&vendor).rate_limit(NonZeroU32::new(4).unwrap());
    let start = Instant::now();
    // Four at once, and four a second.
    let calls = (0..6).map(|_| {
        let api = api.clone();
        async move { set(&api).await.map(drop) }
    });
    futures_util::future::try_join_all(calls).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(vendor.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Vendor::start(Reply::Says(200, "{}")).await;
    let vendor = Vendor::start(Reply::Says(302, "{}")).await;
    let error = get(&api(&vendor)).await.unwrap_err();
    assert!(error.to_string().contains("302, a redirect; callback_url"), "{error}");
    assert_eq!((vendor.asked().len(), other.asked().len()), (1, 0));
}

#[tokio::test]
async fn a_response_is_bounded() {
    let vendor = Vendor::start(Reply::Echo).await;
    let largest = "x".repeat(MAX_RESPONSE_BYTES - 2);
    let same = api(&vendor).call::<Json>("A", "B", &largest).await.unwrap();
    assert_eq!(same.get().len(), MAX_RESPONSE_BYTES);
    let larger = api(&vendor).call::<Json>("A", "B", &(largest + "x")).await;
    assert_eq!(cause(larger), ExtensionCause::TooLarge(MAX_RESPONSE_BYTES));
}

#[tokio::test]
async fn silence_ends_at_the_time_limit() {
    let vendor = Vendor::start(Reply::Silence).await;
    let api = api(&vendor).time_limit(Duration::from_millis(300));
    assert_eq!(cause(set(&api).await), ExtensionCause::TimedOut);
    assert_eq!(cause(get(&api).await), ExtensionCause::TimedOut);
    let none = ExtensionApi::clone(&api).time_limit(Duration::ZERO);
    assert_eq!(cause(set(&none).await), ExtensionCause::TimedOut);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_named_by_its_cause_without_the_key() {
    let vendor = Vendor::start(Reply::Silence).await;
    let api = api(&vendor);
    drop(vendor);
    let error = set(&api).await.unwrap_err();
    let text = format!("{error} {error:?} {api:?}");
    assert!(matches!(error.cause(), ExtensionCause::Unreachable(_)), "{text}");
    assert!(!text.contains(VENDOR_KEY), "{text}");
}

/// A handler that calls with `?` and nothing else.
async fn daily(api: ExtensionApi, _: Delivery<DailyEvent>) -> Outcome {
    set(&api).await?;
    Ok(())
}

/// The states and the attempts of a delivery whose handler's call is answered so.
async fn handled(answers: &'static [&'static str]) -> (State, u32, String) {
    let vendor = Vendor::start(Reply::InTurn(answers)).await;
    let catalog = Catalog::new().on(daily);
    let receiver = Receiver::start(&settings(&vendor.url), catalog, api(&vendor)).await;
    receiver.send(&Request::live("/api/webhooks/DailyEvent", "{}").id("1")).await.taken();
    let [delivery] = receiver.finish().await.deliveries().await.try_into().unwrap();
    assert_eq!(vendor.asked().len(), delivery.attempts.len());
    let reason = delivery.attempts.last().and_then(|attempt| attempt.error.clone());
    (delivery.entry.state, delivery.entry.attempts, reason.unwrap_or_default())
}

#[tokio::test]
async fn a_handlers_failure_is_retried_or_rejected_by_its_cause() {
    let (state, attempts, _) = handled(&[BUSY, NONE, GOOD]).await;
    assert_eq!((state, attempts), (State::Done, 3));
    let (state, attempts, reason) = handled(&[MISSING]).await;
    assert_eq!((state, attempts), (State::Dead, 1));
    let expected = "AssociateService.SetAssociate: answered 404: no \\u001bassociate";
    assert!(reason.contains(expected), "{reason}");
    let (state, attempts, reason) = handled(&[REFUSED]).await;
    assert_eq!((state, attempts), (State::Dead, 3), "{reason}");
}

#[test]
fn what_the_settings_lack_is_named_with_the_line_to_write() {
    let source =
        format!("[sources.live]\ndialect = \"directscale\"\nbearer_tokens = [\"{KEY}\"]\n");
    let hooks = format!("{source}[sources.live.hooks]\n");
    let url = "callback_url = \"http://127.0.0.1:1\"\n";
    for (text, expected) in [
        (String::new(), "no [sources.live]"),
        (source, "[sources.live.hooks] is missing"),
        (hooks.clone(), "has no callback_url"),
        (format!("{hooks}callback_key = \"k\"\n"), "has no callback_url"),
        (format!("{hooks}{url}"), "has no callback_key_file"),
        (format!("{hooks}callback_url = \"http://x.test\"\ncallback_key = \"k\"\n"), "https"),
    ] {
        let config = parse(&text, [], "test").unwrap();
        let error = config.extension_client("live").err().unwrap().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
