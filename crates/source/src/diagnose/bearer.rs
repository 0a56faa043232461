//! Diagnosis of a refused bearer key: its owner, or its accepted form.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode;

use super::{BearerForm, Finding, ForeignKey, RefusedRequest};
use crate::Source;
use crate::auth::BearerKey;
use ::signature::{HttpMessage, RequestParts, parameter};

/// The most texts that are compared.
const MAX_CANDIDATES: usize = 256;

const BEARER: &[u8] = b"bearer";

/// A text that may be the key, and its form in that case.
struct KeyCandidate {
    key: BearerKey,
    forms: Vec<BearerForm>,
}

pub(super) fn diagnose(
    source: &Source,
    others: &[&Source],
    request: RefusedRequest<'_>,
) -> Vec<Finding> {
    let mut candidates = candidates(request);
    candidates.truncate(MAX_CANDIDATES);
    candidates.sort_by_key(|candidate| candidate.forms.len());
    let found = candidates.into_iter().find_map(|candidate| {
        let owner = owner(source, others, &candidate.key);
        (!owner.is_empty()).then_some((owner, candidate.forms))
    });
    match found {
        Some((owner, forms)) => {
            owner.into_iter().chain(forms.into_iter().map(Finding::Form)).collect()
        }
        None if request.headers.contains_key(AUTHORIZATION) || has_key(source, request) => {
            vec![Finding::Unknown]
        }
        None => vec![Finding::NoProof],
    }
}

/// True if something is where the source looks for a key.
fn has_key(source: &Source, request: RefusedRequest<'_>) -> bool {
    let RefusedRequest { method, uri, headers, body, .. } = request;
    let head = HttpMessage { method, uri, headers, public_url: None };
    let parts = RequestParts::new(head, body.unwrap_or_default());
    source.auth.places.iter().any(|place| place.given(&parts).is_ok_and(|keys| !keys.is_empty()))
}

/// The key as this source's, or as that of every other source that has it.
fn owner(source: &Source, others: &[&Source], key: &BearerKey) -> Vec<Finding> {
    let auth = &source.auth;
    if let Some(accepted) = auth.bearer.iter().find(|accepted| accepted.key.equals(key)) {
        return vec![Finding::Bearer(accepted.fingerprint)];
    }
    let diagnostic_keys = &auth.diagnostic_keys;
    if let Some(retired) =
        diagnostic_keys.retired_bearer.iter().find(|retired| retired.key.equals(key))
    {
        return vec![Finding::Retired(retired.fingerprint)];
    }
    let foreign_keys = others.iter().filter_map(|other| foreign_key(other, key));
    let foreign_keys: Vec<Finding> = foreign_keys.map(Finding::BearerFor).collect();
    if !foreign_keys.is_empty() {
        return foreign_keys;
    }
    let cut = diagnostic_keys.beginnings.iter().find(|(_, beginning)| beginning.equals(key));
    cut.map(|(fingerprint, _)| Finding::CutShort(*fingerprint)).into_iter().collect()
}

fn foreign_key(other: &Source, key: &BearerKey) -> Option<ForeignKey> {
    let accepted = other.auth.bearer.iter().map(|accepted| (accepted, false));
    let retired = other.auth.diagnostic_keys.retired_bearer.iter().map(|retired| (retired, true));
    let (known, is_retired) = accepted.chain(retired).find(|(known, _)| known.key.equals(key))?;
    Some(ForeignKey { source: other.name.clone(), key: known.fingerprint, is_retired })
}

fn candidates(request: RefusedRequest<'_>) -> Vec<KeyCandidate> {
    let mut found = Vec::new();
    for value in request.headers.get_all(AUTHORIZATION) {
        for (text, form) in schemes(value.as_bytes()) {
            found.extend(unwrapped(&text, form));
        }
    }
    if let Some(token) = request.uri.query().and_then(|query| parameter(query, "access_token")) {
        found.extend(unwrapped(&token, Some(BearerForm::Query)));
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| **name != AUTHORIZATION) {
        let form = BearerForm::Header(name.clone());
        found.push(KeyCandidate { key: BearerKey::of(value.as_bytes()), forms: vec![form] });
    }
    found
}

/// The whole value, and the part after its first word.
fn schemes(value: &[u8]) -> Vec<(Vec<u8>, Option<BearerForm>)> {
    let mut found = vec![(value.to_vec(), Some(BearerForm::NoScheme))];
    if let Some(rest) = after_bearer(value) {
        let is_right = value.get(BEARER.len()) == Some(&b' ');
        found.push((rest.to_vec(), (!is_right).then_some(BearerForm::NoScheme)));
        found.extend(after_bearer(rest).map(|rest| (rest.to_vec(), Some(BearerForm::Twice))));
        return found;
    }
    let Some((word, rest)) = word(value) else { return found };
    if word.eq_ignore_ascii_case(b"basic")
        && let Ok(pair) = BASE64_STANDARD.decode(rest)
    {
        let parts = pair.splitn(2, |&c| c == b':');
        found.extend(parts.map(|part| (part.to_vec(), Some(BearerForm::Basic))));
    } else {
        found.push((rest.to_vec(), Some(BearerForm::OtherScheme)));
    }
    found
}

/// The text after `Bearer` and one space, colon or nothing.
fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (word, rest) = value.split_at_checked(BEARER.len())?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    word.eq_ignore_ascii_case(BEARER).then(|| rest.strip_prefix(b" ").unwrap_or(rest))
}

/// The first word, and the text after the space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = text.iter().position(|&c| c == b' ')?;
    Some((&text[..space], &text[space + 1..]))
}

/// The text as it is, without surrounding characters, and decoded.
fn unwrapped(text: &[u8], form: Option<BearerForm>) -> Vec<KeyCandidate> {
    let around = |c: &u8| b" \t\"'`<>".contains(c);
    let start = text.iter().position(|c| !around(c)).unwrap_or(text.len());
    let end = text.iter().rposition(|c| !around(c)).map_or(start, |last| last + 1);
    let bare = &text[start..end];
    let decoded: Vec<u8> = percent_decode(bare).collect();
    let wrapped = (bare.len() < text.len()).then_some(BearerForm::Wrapped);
    let encoded = (decoded != bare).then_some(BearerForm::PercentEncoded);
    let candidate = |text: &[u8], forms: &[&Option<BearerForm>]| KeyCandidate {
        key: BearerKey::of(text),
        forms: forms.iter().copied().flatten().cloned().collect(),
    };
    let mut found = vec![candidate(text, &[&form])];
    if wrapped.is_some() {
        found.push(candidate(bare, &[&form, &wrapped]));
    }
    if encoded.is_some() {
        found.push(candidate(&decoded, &[&form, &wrapped, &encoded]));
    }
    found
}
