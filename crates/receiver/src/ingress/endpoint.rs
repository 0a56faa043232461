//! Endpoints: the mapping of a path to a source and an event.

use std::borrow::Cow;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use percent_encoding::percent_decode_str;
use source::{Source, is_secret, versioned};

/// Longest name of an event or a hook, in bytes.
const LONGEST_NAME: usize = 200;

/// Path of a source in one version of its models.
pub(super) struct Endpoint {
    /// The source.
    pub(super) source: Arc<Source>,
    /// The version of the models.
    pub(super) version: u16,
    prefix: String,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Endpoint {
    /// Endpoints of a source: one for each version, and its own path, which always means version 1.
    ///
    /// The own path comes last, since it would match `/hooks/v2` as an event named `v2`.
    pub(super) fn of(source: &Arc<Source>, versions: &[u16]) -> Vec<Self> {
        let rate =
            source.rate_limit.map(|rate| Arc::new(RateLimiter::direct(Quota::per_second(rate))));
        let endpoint = |version, prefix| Endpoint {
            source: Arc::clone(source),
            version,
            prefix,
            rate: rate.clone(),
        };
        let twins = versions.iter().map(|v| endpoint(*v, versioned(&source.path, *v)));
        twins.chain([endpoint(1, source.path.clone())]).collect()
    }

    /// The event named by `path`, if the path belongs to this endpoint; empty for the one URL of all events.
    pub(super) fn event<'p>(&self, path: &'p str) -> Option<Cow<'p, str>> {
        name_below(&self.prefix, path)
    }

    /// True if `path` contains a segment of the source's path that is a secret and its only authentication.
    pub(super) fn is_revealed_by(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let mut segments = self.source.path.split('/');
        self.source.auth.is_none() && segments.any(|own| is_secret(own) && path.contains(own))
    }

    /// Counts one delivery against the rate limit; returns the time to wait if it is exceeded.
    pub(super) fn admit_rate(&self) -> Result<(), std::time::Duration> {
        match self.rate.as_ref().map(|rate| rate.check()) {
            Some(Err(early)) => Err(early.wait_time_from(DefaultClock::default().now())),
            _ => Ok(()),
        }
    }
}

/// The last segment of `path`, if the part before it equals `below` without regard to case; empty if nothing follows.
pub(super) fn name_below<'p>(below: &str, path: &'p str) -> Option<Cow<'p, str>> {
    let name = rest_below(below, path)?;
    (!name.contains('/')).then(|| percent_decode_str(name).decode_utf8_lossy())
}

/// True if exactly two segments of `path` follow the part that equals `below` without regard to case.
pub(super) fn is_two_below(below: &str, path: &str) -> bool {
    let segments = rest_below(below, path).and_then(|rest| rest.split_once('/'));
    segments.is_some_and(|(first, second)| {
        !first.is_empty() && !second.is_empty() && !second.contains('/')
    })
}

/// The part of `path` after `below`, without the slashes around it.
fn rest_below<'p>(below: &str, path: &'p str) -> Option<&'p str> {
    let (prefix, rest) = path.split_at_checked(below.len())?;
    if !prefix.eq_ignore_ascii_case(below) {
        return None;
    }
    let rest = match rest.strip_prefix('/') {
        Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
        None if rest.is_empty() => "",
        None => return None,
    };
    (rest.len() <= LONGEST_NAME).then_some(rest)
}

#[cfg(test)]
mod tests {
    use contract::event::Dialect;
    use source::Auth;

    use super::*;

    fn event(prefix: &str, path: &str) -> Option<String> {
        let source = Arc::new(Source::new("s", Dialect::DirectScale, prefix, Auth::default()));
        Endpoint::of(&source, &[1])
            .iter()
            .find_map(|endpoint| endpoint.event(path).map(Cow::into_owned))
    }

    #[test]
    fn paths_match_without_regard_to_case() {
        assert_eq!(
            event("/api/webhooks", "/api/WebHooks/OrderEvent").as_deref(),
            Some("OrderEvent")
        );
        assert_eq!(event("/api/webhooks", "/API/V1/webhooks/x").as_deref(), Some("x"));
        assert_eq!(event("/api/webhooks", "/api/webhooks").as_deref(), Some(""));
        assert_eq!(event("/api/webhooks", "/api/webhooks/").as_deref(), Some(""));
        assert_eq!(event("/api/webhooks", "/api/webhooks/a%20b/").as_deref(), Some("a b"));
    }

    #[test]
    fn other_paths_do_not_match() {
        for path in ["/", "/api", "/api/webhooksx", "/api/webhooks/a/b", "/api/v2/webhooks/a"] {
            assert_eq!(event("/api/webhooks", path), None, "{path}");
        }
    }

    #[test]
    fn two_segments_are_two_and_neither_is_empty() {
        let is_two = |path| is_two_below("/api/hooks", path);
        assert!(is_two("/API/Hooks/OrderHooks/SubmitOrderHook"));
        assert!(is_two("/api/hooks/a/b/"));
        for path in
            ["/api/hooks", "/api/hooks/a", "/api/hooks/a/", "/api/hooks//b", "/api/hooks/a//"]
        {
            assert!(!is_two(path), "{path}");
        }
        for path in ["/api/hooks/a/b/c", "/api/hooksx/a/b", "/x/api/hooks/a/b", "/"] {
            assert!(!is_two(path), "{path}");
        }
        assert!(!is_two(&format!("/api/hooks/a/{}", "b".repeat(LONGEST_NAME))));
    }

    #[test]
    fn the_version_follows_api_or_ends_the_path() {
        assert_eq!(versioned("/stage/api/webhooks", 1), "/stage/api/v1/webhooks");
        assert_eq!(versioned("/hooks", 2), "/hooks/v2");
    }
}
