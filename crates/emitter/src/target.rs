//! The target of messages, and the key that may be sent to it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use contract::catalog::{is_path_traversal, segment};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use settings::{AuthKind, Config, SourceConfig, is_local, is_loopback, reachable, secrets};

use super::EmitArgs;
use super::send_as::SendAs;

/// A configured source and its name.
pub type NamedSource<'c> = (&'c str, &'c SourceConfig);

/// The source to send as: the named one, or the only one, of the dialect if that is given. None is needed if the target
/// and the key are given.
pub(super) fn source<'c>(
    args: &EmitArgs,
    config: &'c Config,
) -> anyhow::Result<Option<NamedSource<'c>>> {
    let names = || config.sources.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = &args.source {
        let found =
            config.sources.get_key_value(wanted).map(|(name, source)| (name.as_str(), source));
        ensure!(found.is_some(), "there is no source `{wanted}`; configured: {}", names());
        return Ok(found);
    }
    let dialect = args.send_as.as_ref().and_then(SendAs::dialect);
    let fits = |source: &SourceConfig| dialect.is_none_or(|dialect| source.dialect == dialect);
    let mut sources = config.sources.iter().filter(|(_, source)| fits(source));
    match (sources.next(), sources.next()) {
        (Some(_), Some(_)) => {
            bail!("several sources are configured; choose one with --source: {}", names())
        }
        (Some((name, source)), None) => Ok(Some((name, source))),
        (None, _) if args.to.is_some() => Ok(None),
        (None, _) => {
            let sort = dialect.map(|dialect| format!("{dialect} ")).unwrap_or_default();
            bail!(
                "no {sort}source is configured; give the target with --to and its key with --token-file or --signing-key-file"
            )
        }
    }
}

/// The URL for one event or hook, if it is safe to send there; `path` is the source's path at the receiver.
pub(super) fn url(
    args: &EmitArgs,
    listen: SocketAddr,
    path: Option<&str>,
    (event, is_in_path): (&str, bool),
) -> anyhow::Result<Url> {
    let url = match (&args.to, path) {
        (Some(to), _) => address(to, event)?,
        (None, Some(path)) => {
            let base = default_address(listen, path)?;
            let base = if is_in_path { &base } else { base.trim_end_matches('/') };
            address(base, event)?
        }
        (None, None) => bail!("no source is configured; give the target with --to"),
    };
    check(&url, args.allow_http)?;
    Ok(url)
}

/// The bearer key: the given one, or the source's first, which is sent to the configured listener only. Without a
/// source it is required unless the message is signed.
pub(super) fn bearer_key(
    args: &EmitArgs,
    listen: SocketAddr,
    source: Option<NamedSource<'_>>,
    is_signed: bool,
    urls: &[Url],
) -> anyhow::Result<Option<SecretString>> {
    const HOW: &str = "give one with --token-file, --token or RECEIVER_EMIT_TOKEN";
    if let Some(key) = key_from("--token-file", args.token_file.as_deref(), args.token.as_ref())? {
        return Ok(Some(key));
    }
    match source {
        None if is_signed => Ok(None),
        None => bail!("no key: {HOW}"),
        Some((_, source)) if !source.auth_kind().has_bearer() => Ok(None),
        Some((name, source)) => {
            configured(name, source.bearer_keys(name)?, listen, urls, HOW).map(Some)
        }
    }
}

/// The signing key: the given one, or the source's first, which is used for the configured listener only. None if the
/// source requires no signature.
pub(super) fn signing_key(
    args: &EmitArgs,
    listen: SocketAddr,
    source: Option<NamedSource<'_>>,
    urls: &[Url],
) -> anyhow::Result<Option<SecretString>> {
    const HOW: &str =
        "give one with --signing-key-file, --signing-key or RECEIVER_EMIT_SIGNING_KEY";
    let file = args.signing_key_file.as_deref();
    if let Some(key) = key_from("--signing-key-file", file, args.signing_key.as_ref())? {
        return Ok(Some(key));
    }
    match source {
        None => bail!("no key to sign with: {HOW}"),
        Some((_, source)) if !signs(source) => Ok(None),
        Some((name, source)) => {
            configured(name, source.signing_keys(name)?, listen, urls, HOW).map(Some)
        }
    }
}

fn signs(source: &SourceConfig) -> bool {
    let kind = source.auth_kind();
    kind.has_signature() || kind == AuthKind::Jwt
}

/// The key in `file`, which the flag names, or else `key`.
///
/// # Errors
/// If the file cannot be read.
pub fn key_from(
    flag: &str,
    file: Option<&Path>,
    key: Option<&SecretString>,
) -> anyhow::Result<Option<SecretString>> {
    let Some(file) = file else { return Ok(key.cloned()) };
    let key = settings::read_secret(file).map_err(|error| anyhow::anyhow!("{flag}: {error}"))?;
    Ok(Some(key))
}

/// The first of a source's keys, if all messages go to the configured listener.
fn configured(
    name: &str,
    keys: Vec<SecretString>,
    listen: SocketAddr,
    urls: &[Url],
    how: &str,
) -> anyhow::Result<SecretString> {
    if let Some(url) = urls.iter().find(|url| !is_listener(url, listen)) {
        bail!(
            "the configured key of [sources.{name}] goes to the configured listener {listen} only, and {} is another address; {how}",
            url.authority()
        );
    }
    keys.into_iter().next().with_context(|| format!("[sources.{name}] has no key; {how}"))
}

/// Checks that a header can carry the key; the error does not repeat it.
pub(super) fn check_key(key: &SecretString) -> anyhow::Result<()> {
    match secrets::flaw(key.expose_secret(), true) {
        Some(flaw) => bail!("the key {flaw}"),
        None => Ok(()),
    }
}

fn default_address(listen: SocketAddr, path: &str) -> anyhow::Result<String> {
    ensure!(listen.port() != 0, "`listen` has port 0; give the target with --to");
    ensure!(path.starts_with('/'), "the source's path {path:?} does not begin with /");
    Ok(format!("http://{}{}/", reachable(listen), path.trim_end_matches('/')))
}

/// The URL of all events of the source with this path, at the configured listener.
pub(super) fn all_events(listen: SocketAddr, path: &str) -> anyhow::Result<Url> {
    Ok(Url::parse(default_address(listen, path)?.trim_end_matches('/'))?)
}

/// The URL for a name, by the rule of `--to`: a `/` at the end, `{event}` and `{hook}` stand for the name.
///
/// # Errors
/// If the text is no URL, or the name would lead out of the target.
pub fn address(to: &str, event: &str) -> anyhow::Result<Url> {
    let filled = |name: &str| {
        let end = if to.ends_with('/') { name } else { "" };
        let text = to.replace("{event}", name).replace("{hook}", name) + end;
        Url::parse(&text).with_context(|| format!("{to:?} is not a URL"))
    };
    let (url, usual) = (filled(&segment(event))?, filled("name")?);
    if url != usual {
        let depth = |url: &Url| url.path().split('/').count();
        ensure!(
            !event.is_empty() && !is_path_traversal(event) && depth(&url) == depth(&usual),
            "{event:?} cannot stand in a path: a name is not empty, and no part of it is . or .., however they are encoded"
        );
        ensure!(
            url.authority() == usual.authority(),
            "{to:?} has the event's name in its host; a name stands in a path or a query"
        );
    }
    Ok(url)
}

/// Refuses a URL to which nothing is sent: another scheme than HTTP, or plain HTTP to another machine.
///
/// # Errors
/// With the flag that permits it.
pub fn check(url: &Url, allow_http: bool) -> anyhow::Result<()> {
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "the URL has a user or password in it; keys go into --token-file, --token or RECEIVER_EMIT_TOKEN"
    );
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || is_local(url) => Ok(()),
        "http" => bail!(
            "http:// to {} would show the key to anyone on the way; use https://, or --allow-http if that is meant",
            url.authority()
        ),
        other => bail!("a target is http:// or https://, not {other}:"),
    }
}

/// True if the URL leads to the address that is listened on.
pub fn is_listener(url: &Url, listen: SocketAddr) -> bool {
    let host = match ip(url) {
        Some(ip) if listen.ip().is_unspecified() => is_loopback(ip),
        Some(ip) => ip == listen.ip(),
        None => is_local(url) && is_loopback(reachable(listen).ip()),
    };
    host && url.port_or_known_default() == Some(listen.port())
}

fn ip(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_target_is_the_listener() {
        let of = |listener, path| default_address(listen(listener), path).unwrap();
        assert_eq!(of("127.0.0.1:8080", "/api/webhooks"), "http://127.0.0.1:8080/api/webhooks/");
        assert_eq!(of("0.0.0.0:80", "/hooks/"), "http://127.0.0.1:80/hooks/");
        assert_eq!(of("[::]:8080", "/"), "http://[::1]:8080/");
        assert_eq!(of("10.1.2.3:8080", "/a"), "http://10.1.2.3:8080/a/");
        assert!(default_address(listen("127.0.0.1:0"), "/a").is_err());
        assert!(default_address(listen("127.0.0.1:80"), "@example.com/").is_err());
    }

    #[test]
    fn a_slash_or_a_placeholder_asks_for_the_name() {
        let to = |to| address(to, "OrderEvent").unwrap().to_string();
        assert_eq!(to("https://x.test/hooks/"), "https://x.test/hooks/OrderEvent");
        assert_eq!(to("https://x.test/{event}/in?v=1"), "https://x.test/OrderEvent/in?v=1");
        assert_eq!(to("https://x.test/hooks"), "https://x.test/hooks");
        assert!(address("x.test/hooks", "OrderEvent").is_err());
        let topic = address("https://x.test/", "orders/create").unwrap();
        assert_eq!(topic.as_str(), "https://x.test/orders%2Fcreate");
    }

    #[test]
    fn no_name_leads_out_of_the_target() {
        for name in [
            "",
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2e",
            "%252e%252e",
            "../x",
            "a/..",
            "a/../../b",
            "..%2fx",
            "..\\x",
            "a%5c..",
            "..;",
            "..;a=b/x",
        ] {
            for to in
                ["https://x.test/t/hooks/", "https://x.test/{event}/in", "https://x.test/?n={hook}"]
            {
                let error = address(to, name).unwrap_err().to_string();
                assert!(error.contains("cannot stand in a path"), "{to} {name}: {error}");
            }
            assert!(address("https://x.test/hooks", name).is_ok(), "the name is not in it");
        }
        assert!(address("https://x.test/.{event}/x", ".").is_err());
        assert!(address("https://x.test/.{event}/x", "...").is_ok());
        assert!(address("https://{event}.test/", "x").unwrap_err().to_string().contains("host"));
        for name in ["a..b", "...", ".x", "order.created", "a/b", "a?b", "a#b", "é", "100%"] {
            let url = address("https://x.test/t/hooks/", name).unwrap();
            assert!(
                url.path().starts_with("/t/hooks/") && url.path().split('/').count() == 4,
                "{url}"
            );
        }
    }

    #[test]
    fn only_loopback_is_reached_over_http_unasked() {
        let ok = |url, allow| check(&Url::parse(url).unwrap(), allow).is_ok();
        for url in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost/", "https://x.test/"]
        {
            assert!(ok(url, false), "{url}");
        }
        for url in ["http://x.test/", "http://10.0.0.1/", "http://localhost.x.test/"] {
            assert!(!ok(url, false), "{url}");
            assert!(ok(url, true), "{url}");
        }
        for url in ["ftp://127.0.0.1/", "https://user@x.test/", "http://127.0.0.1:80@x.test/"] {
            assert!(!ok(url, true), "{url}");
        }
    }

    #[test]
    fn only_the_configured_address_is_the_listener() {
        let is = |url, address| is_listener(&Url::parse(url).unwrap(), listen(address));
        assert!(is("http://127.0.0.1:8080/x", "127.0.0.1:8080"));
        assert!(is("http://localhost:8080/x", "127.0.0.1:8080"));
        assert!(is("http://127.0.0.1/x", "0.0.0.0:80"));
        assert!(is("http://[::1]:8080/x", "[::]:8080"));
        assert!(is("http://10.0.0.1:8080/x", "10.0.0.1:8080"));
        assert!(!is("http://127.0.0.1:8081/x", "127.0.0.1:8080"));
        assert!(!is("http://10.0.0.2:8080/x", "10.0.0.1:8080"));
        assert!(!is("http://10.0.0.2:8080/x", "0.0.0.0:8080"));
        assert!(!is("http://localhost:8080/x", "10.0.0.1:8080"));
        assert!(!is("https://x.test:8080/x", "127.0.0.1:8080"));
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_without_repeating_it() {
        for key in ["", " k3y", "k3y\n", "k\u{7}3y"] {
            let error = check_key(&key.into()).unwrap_err().to_string();
            assert!(!error.contains("k3y"), "{error}");
        }
        assert!(check_key(&"!@%$^ k".into()).is_ok());
    }
}
