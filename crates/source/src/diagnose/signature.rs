//! Diagnosis of a refused signature: its key's owner, or its accepted form.

use signature::{Difference, Key, Rule, Search};

use super::{Finding, ForeignKey, RefusedRequest};
use crate::auth::SignatureAuth;
use crate::{DiagnosticKeys, Source};

/// One search, step by step, the likeliest mistake first.
struct Inquiry<'r> {
    search: Search<'r>,
    rule: Rule<'r>,
    /// The keys that the source accepts.
    accepted: Vec<&'r Key>,
    diagnostic_keys: &'r DiagnosticKeys,
    others: &'r [&'r Source],
}

pub(super) fn diagnose(
    source: &Source,
    others: &[&Source],
    request: RefusedRequest<'_>,
) -> Vec<Finding> {
    let Some(signed) = &source.auth.signature else { return Vec::new() };
    let Some(body) = request.body else { return vec![Finding::Unread] };
    let mut inquiry = Inquiry {
        search: Search::new(
            source.head(request.method, request.uri, request.headers),
            body,
            request.now,
        ),
        rule: signed.rule(),
        accepted: signed.keys.iter().map(|key| &key.key).collect(),
        diagnostic_keys: &source.auth.diagnostic_keys,
        others,
    };
    inquiry
        .accepted()
        .or_else(|| inquiry.retired())
        .or_else(|| inquiry.misread())
        .or_else(|| inquiry.foreign_keys())
        .or_else(|| inquiry.varied())
        .or_else(|| inquiry.by_other_scheme())
        .unwrap_or_else(|| inquiry.nothing())
}

impl Inquiry<'_> {
    /// An accepted key signed the right bytes, so the mistake lies around the signature.
    fn accepted(&mut self) -> Option<Vec<Finding>> {
        let (_, differences) = self.search.exact(self.rule, self.accepted.iter().copied())?;
        Some(differences.into_iter().map(Finding::Signature).collect())
    }

    fn retired(&mut self) -> Option<Vec<Finding>> {
        let (number, differences) = self.search.exact(self.rule, &self.diagnostic_keys.retired)?;
        Some(with(Finding::Retired(self.diagnostic_keys.retired[number].fingerprint), differences))
    }

    fn misread(&mut self) -> Option<Vec<Finding>> {
        let keys = self.diagnostic_keys.misread.iter().map(|(_, key)| key);
        let (number, differences) = self.search.exact(self.rule, keys)?;
        let (how, key) = &self.diagnostic_keys.misread[number];
        Some(with(Finding::Misread { key: key.fingerprint, how: *how }, differences))
    }

    /// Keys of other sources. Two sources may have the same key.
    fn foreign_keys(&mut self) -> Option<Vec<Finding>> {
        let mut findings = Vec::new();
        for other in self.others {
            findings.extend(self.foreign_key(other).into_iter().flatten());
        }
        (!findings.is_empty()).then_some(findings)
    }

    /// Another source's key, used in this source's scheme or in that source's own.
    fn foreign_key(&mut self, other: &Source) -> Option<Vec<Finding>> {
        let signed = other.auth.signature.as_ref()?;
        let accepted = signed.keys.iter().map(|key| &key.key);
        let keys: Vec<&Key> = accepted.chain(&other.auth.diagnostic_keys.retired).collect();
        let own = Some(signed.rule()).filter(|own| own.scheme != self.rule.scheme);
        let mut rules = [self.rule].into_iter().chain(own);
        let (number, differences) =
            rules.find_map(|rule| self.search.exact(rule, keys.iter().copied()))?;
        let foreign_key = ForeignKey {
            source: other.name.clone(),
            key: keys[number].fingerprint,
            is_retired: number >= signed.keys.len(),
        };
        Some(with(Finding::SignedFor(foreign_key), differences))
    }

    fn varied(&mut self) -> Option<Vec<Finding>> {
        let (_, differences) = self.search.varied(self.rule, &self.accepted)?;
        Some(differences.into_iter().map(Finding::Signature).collect())
    }

    /// Another scheme may read the key in another way, so all ways are tried.
    fn by_other_scheme(&mut self) -> Option<Vec<Finding>> {
        let misread = self.diagnostic_keys.misread.iter().map(|(_, key)| key);
        let keys: Vec<&Key> = self.accepted.iter().copied().chain(misread).collect();
        let (scheme, (number, differences)) = self.search.by_other_scheme(self.rule, &keys)?;
        let other = Finding::OtherScheme {
            key: keys[number].fingerprint,
            found: scheme.name,
            expected: self.rule.scheme.name.clone(),
        };
        Some(with(other, differences))
    }

    fn nothing(&self) -> Vec<Finding> {
        vec![match self.search.has_candidate(self.rule.scheme) {
            true => Finding::Unknown,
            false => Finding::NoProof,
        }]
    }
}

/// The owner's finding, followed by further differences of the request.
fn with(owner: Finding, differences: Vec<Difference>) -> Vec<Finding> {
    [owner].into_iter().chain(differences.into_iter().map(Finding::Signature)).collect()
}

impl SignatureAuth {
    fn rule(&self) -> Rule<'_> {
        Rule { scheme: &self.scheme, tolerance: self.tolerance }
    }
}
