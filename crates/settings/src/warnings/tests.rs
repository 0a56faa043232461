//! Every warning: its condition, its absence and its text.

use super::*;
use crate::parse;
use contract::event::Dialect;

/// A bearer key without a warning.
const STRONG: &str = "0123456789abcdef";

fn config(text: &str) -> Config {
    parse(text, [], "test").unwrap()
}

fn warned(text: &str) -> Vec<String> {
    let warnings = config(text).warnings_with(None);
    warnings.iter().map(ToString::to_string).collect()
}

fn source(name: &str, dialect: &str, rest: &str) -> String {
    format!("[sources.{name}]\ndialect = \"{dialect}\"\npath = \"/{name}\"\n{rest}\n")
}

fn bearer(name: &str, rest: &str) -> String {
    source(name, "directscale", &format!("bearer_tokens = [\"{STRONG}\"]\n{rest}"))
}

/// The only warning of these settings, which are valid.
#[track_caller]
fn only(text: &str) -> String {
    let sources = config(text).sources();
    assert!(sources.is_ok(), "{sources:?}");
    let warnings = warned(text);
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    warnings.into_iter().next().unwrap()
}

#[test]
fn of_sound_settings_nothing_is_said() {
    let stripe = source("pay", "stripe", "signing_keys = [\"whsec_0123456789abcdef\"]");
    assert_eq!(warned(&format!("{}{stripe}", bearer("one", ""))), [""; 0]);
}

#[test]
fn an_open_source() {
    assert_eq!(
        only(&source("one", "directscale", "auth = \"none\"")),
        "[sources.one] auth: \"none\" lets anyone who reaches it post events; write auth = \"bearer\" or auth = \"signature\", and the key"
    );
}

#[test]
fn a_bearer_key_that_can_be_guessed() {
    let keys = |first: &str| {
        source("one", "directscale", &format!("bearer_tokens = [\"{first}\", \"{STRONG}-2\"]"))
    };
    assert_eq!(
        only(&keys("0123456789abcde")),
        "[sources.one] bearer_tokens, 1 of 2: has fewer than 16 characters and can be guessed; write one from `webhook-receiver secret`, here and at the sender"
    );
    assert_eq!(warned(&keys(STRONG)), [""; 0], "one more is enough");
}

#[test]
fn a_signing_key_that_its_scheme_does_not_allow() {
    let stripe = |key: &str| source("pay", "stripe", &format!("signing_keys = [\"{key}\"]"));
    assert_eq!(
        only(&stripe("0123456789abcde")),
        "[sources.pay] signing_keys: is shorter than the keys of stripe must be; have the sender make a new key, and write that"
    );
    assert_eq!(warned(&stripe(STRONG)), [""; 0]);
    // 23 bytes, then 24.
    let standard =
        |key: &str| source("std", "standard-webhooks", &format!("signing_keys = [\"{key}\"]"));
    assert!(
        only(&standard("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
            .contains("shorter than the keys of standard-webhooks")
    );
    assert_eq!(warned(&standard("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")), [""; 0]);
}

#[test]
fn keys_of_message_signatures() {
    let keys = |key: &str| {
        source("msg", "generic", &format!("scheme = \"rfc9421\"\nsigning_keys = [\"{key}\"]"))
    };
    // The pair of RFC 9421, appendix B.1.4.
    let public = "ed25519:MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
    let secret = "ed25519:MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
    assert_eq!(warned(&keys(public)), [""; 0]);
    assert!(only(&keys(secret)).contains("is the secret half of a key pair"));
    assert!(only(&keys("hmac-sha256:AAAA")).contains("shorter than the keys of rfc9421"));
}

#[test]
fn one_key_twice_in_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{STRONG}\n")).unwrap();
    assert_eq!(
        only(&bearer("one", &format!("bearer_token_files = [{file:?}]"))),
        format!(
            "[sources.one] bearer_token_files, {}: is the same key as bearer_tokens; remove it",
            file.display()
        )
    );
    let signed = format!(
        "bearer_tokens = [\"{STRONG}\"]\nsigning_keys = [\"{STRONG}\"]\nauth = \"bearer-and-signature\""
    );
    assert_eq!(
        only(&source("one", "stripe", &signed)),
        "[sources.one] signing_keys: is also in bearer_tokens, so that every request shows how to sign; have the sender make another key to sign with, and write that"
    );
}

#[test]
fn one_key_for_two_environments() {
    let other = |rest: &str| format!("{}{}", bearer("one", ""), bearer("two", rest));
    assert_eq!(
        only(&other("environment = \"stage\"")),
        "[sources.two] bearer_tokens: is also a key of [sources.one], so that a test system can post live events; write a key of its own, here and at the sender"
    );
    assert_eq!(warned(&other("")), [""; 0], "two paths of one environment may share it");
}

#[test]
fn the_half_of_a_pair_that_signs() {
    let keys =
        |key: &str| source("std", "standard-webhooks", &format!("signing_keys = [\"{key}\"]"));
    // The first pair of RFC 8032, section 7.1.
    assert_eq!(
        only(&keys("whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")),
        "[sources.std] signing_keys: is the whsk_ half, which signs, and a receiver only verifies; write the half that begins with whpk_"
    );
    let public = keys("whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    assert_eq!(warned(&public), [""; 0]);
}

#[test]
fn a_window_in_which_senders_still_send_again() {
    let stripe = source("pay", "stripe", &format!("signing_keys = [\"{STRONG}\"]"));
    let slack = source("chat", "slack", &format!("signing_keys = [\"{STRONG}-2\"]"));
    let with = |window: &str| {
        let one = bearer("one", "");
        format!("{stripe}{slack}{one}[dedup]\nwindow = \"{window}\"\n")
    };
    assert_eq!(
        only(&with("71h 59m")),
        "[dedup] window: 2days 23h 59m is less than the 3days for which stripe events may be sent again to [sources.pay], and then they are handled twice; write window = \"3days\" or more"
    );
    assert_eq!(warned(&with("72h")), [""; 0]);
}

#[test]
fn every_known_time_of_resending_is_warned_of_and_can_be_written() {
    for (dialect, seconds) in [
        (Dialect::EvolutionX, 86_400),
        (Dialect::StandardWebhooks, 272_105),
        (Dialect::GitHub, 259_200),
        (Dialect::Shopify, 14_400),
        (Dialect::Slack, 360),
        (Dialect::Adyen, 2_592_000),
    ] {
        let text = source("one", dialect.as_str(), "auth = \"none\"");
        let with = |seconds: u64| format!("{text}[dedup]\nwindow = \"{seconds}s\"\n");
        let warnings = config(&with(seconds - 1)).warnings_with(None);
        assert_eq!(warnings[1].setting, "[dedup] window");
        assert_eq!(warned(&with(seconds)).len(), 1, "{dialect}");
        let line = warnings[1].remedy.strip_prefix("write ").unwrap();
        let line = line.strip_suffix(" or more").unwrap();
        let mended = config(&format!("{text}[dedup]\n{line}\n"));
        assert_eq!(mended.dedup.window.as_secs(), seconds, "{line}");
    }
}

#[test]
fn bodies_that_senders_post_are_refused() {
    let with = |bytes: usize| format!("{}[limits]\nmax_body = {bytes}\n", bearer("one", ""));
    assert_eq!(
        only(&with(LARGE_BODY - 1)),
        "[limits] max_body: is below 256 KiB, and senders post that much; write max_body = 262144 or more"
    );
    assert_eq!(warned(&with(LARGE_BODY)), [""; 0]);
}

#[test]
fn a_listener_beyond_this_machine_without_a_login_or_with_a_senders_key() {
    let on = |listen: &str, rest: &str| {
        config(&format!("listen = \"{listen}\"\n{}{rest}", bearer("one", "")))
    };
    let settings = |config: &Config, has_token| {
        let warnings = config.warnings_with(has_token);
        warnings.into_iter().map(|warning| warning.setting).collect::<Vec<_>>()
    };
    let beyond = on("0.0.0.0:80", "");
    assert_eq!(settings(&beyond, None), ["[docs] password_hash"]);
    let beyond = on("0.0.0.0:80", "[docs]\nuser = \"u\"\npassword_hash = \"h\"\n");
    assert_eq!(settings(&beyond, None), [""; 0]);
    assert_eq!(settings(&beyond, Some(EMIT_TOKEN)), ["environment variable RECEIVER_EMIT_TOKEN"]);
    let here = on("127.0.0.1:80", "");
    assert_eq!(settings(&here, Some(EMIT_TOKEN)), [""; 0]);
}

#[test]
fn no_warning_repeats_a_key() {
    let text = [
        bearer("one", ""),
        bearer("two", "environment = \"stage\""),
        source("three", "directscale", "bearer_tokens = [\"hush\", \"hush\"]"),
    ];
    let warnings = warned(&text.concat());
    assert_eq!(warnings.len(), 4, "{warnings:#?}");
    for warning in warnings {
        assert!(!warning.contains("hush") && !warning.contains(STRONG), "{warning}");
    }
}

#[test]
fn one_key_for_both_directions_of_hooks_is_warned_of() {
    let settings = |callback: &str| {
        format!(
            "[sources.a]\ndialect = \"directscale\"\nbearer_tokens = [\"0123456789abcdef\"]\n\
             [sources.a.hooks]\ncallback_url = \"https://x.test\"\ncallback_key = \"{callback}\"\n"
        )
    };
    let warned = |callback: &str| {
        let config = parse(&settings(callback), [], "test").unwrap();
        let warnings = config.warnings_with(None).into_iter();
        warnings.filter(|warning| warning.setting.contains("callback_key")).count()
    };
    assert_eq!(warned("0123456789abcdef"), 1);
    assert_eq!(warned("0123456789abcdeg"), 0);
}

#[test]
fn one_key_in_two_writings() {
    let keys = "signing_keys = [\"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\", \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]";
    assert_eq!(
        only(&source("one", "standard-webhooks", keys)),
        "[sources.one] signing_keys, 2 of 2: is the same key as signing_keys, 1 of 2; remove it"
    );
}

#[test]
fn an_id_in_a_header_that_is_not_signed() {
    let acme = |id: &str| {
        let key = format!("signing_keys = [\"{STRONG}\"]");
        let places = format!("[sources.acme.places]\nmessage_id = \"{id}\"");
        let signature = "[sources.acme.signature]\nheader = \"X-Sig\"\nid_header = \"X-Acme-Id\"\nsigned = \"{id}.{body}\"";
        source("acme", "generic", &format!("{key}\n{places}\n{signature}"))
    };
    assert_eq!(
        only(&acme("header:X-Other-Id")),
        "[sources.acme.places] message_id: X-Other-Id is not signed, so that anyone with a copy of a delivery can resend it under another id; name a field of the body, or the signed header, if the sender has one"
    );
    for signed in ["header:x-acme-id", "/id"] {
        assert_eq!(warned(&acme(signed)), [""; 0], "{signed}");
    }
}
