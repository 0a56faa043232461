//! Host patterns: the hosts from which a source fetches keys and confirmations.

use reqwest::Url;

/// The hosts that a row or a source names; in a name `*` stands for one label.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names without a pattern, which a person has written on purpose.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|name| !name.contains('*')).map(|name| match is_this_machine(name) {
            true => name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host),
            false => name.as_str(),
        })
    }

    /// Reads the patterns.
    ///
    /// # Errors
    /// If one is no host name.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        let is_label = |label: &str| {
            label == "*"
                || !label.is_empty()
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        for pattern in patterns.iter().filter(|pattern| !is_this_machine(pattern)) {
            let labels: Vec<&str> = pattern.split('.').collect();
            // The last labels are the sender's own; a pattern for any domain is none.
            let is_open =
                labels.len() < 2 || labels[labels.len().saturating_sub(2)..].contains(&"*");
            if !labels.iter().all(|label| is_label(label)) || (is_open && *pattern != "localhost") {
                return Err(format!(
                    "has {pattern:?}, which is no host name; write for example hosts = [\"keys.example.com\"]"
                ));
            }
        }
        Ok(Hosts(patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect()))
    }

    /// The URL, if it is `https` to one of the hosts, at the usual port, without a user in it.
    pub fn check(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let authority = url.authority();
        if self.0.iter().any(|pattern| is_this_machine(pattern) && pattern == authority) {
            return Some(url.into());
        }
        let is_plain = url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let host = url.host_str()?.to_owned();
        (is_plain && self.0.iter().any(|pattern| matches(pattern, &host))).then(|| url.into())
    }
}

/// True for an address of this machine with a port, from which is fetched over http too: to try a source without its sender.
fn is_this_machine(pattern: &str) -> bool {
    pattern.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}

fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.split('.'), host.split('.'));
    pattern.clone().count() == host.clone().count()
        && pattern.zip(host).all(|(pattern, label)| match pattern {
            // A bucket's host is not a region's.
            "*" => !label.starts_with("s3"),
            pattern => pattern == label,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_named_host_is_fetched() {
        let hosts = ["sns.*.amazonaws.com".to_owned(), "api.paypal.com".to_owned()];
        let hosts = Hosts::new(&hosts).unwrap();
        for url in ["https://sns.us-east-2.amazonaws.com/a.pem", "https://API.paypal.com/v1/x?y=1"]
        {
            assert!(hosts.check(url).is_some(), "{url}");
        }
        for url in [
            "http://sns.us-east-2.amazonaws.com/a.pem",
            "https://sns.us-east-2.amazonaws.com:8443/a.pem",
            "https://sns.us-east-2.amazonaws.com@evil.example/a.pem",
            "https://u:p@api.paypal.com/",
            "https://sns.a.b.amazonaws.com/",
            "https://sns.amazonaws.com/",
            "https://sns.s3.amazonaws.com/a.pem",
            "https://sns.s3-us-west-2.amazonaws.com/a.pem",
            "https://api.paypal.com.evil.example/",
            "https://evil.example/#api.paypal.com",
            "https://evil.example/?https://api.paypal.com/",
            "https://127.0.0.1/",
            "file:///etc/passwd",
            "api.paypal.com",
            "",
        ] {
            assert_eq!(hosts.check(url), None, "{url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_leads_to_another_host(text in "(https?://)?[a-z@:/.#?%\\\\-]{0,30}(paypal\\.com)?[a-z@:/.#?]{0,20}") {
            let hosts = Hosts::new(&["api.paypal.com".to_owned()]).unwrap();
            if let Some(url) = hosts.check(&text) {
                let url = Url::parse(&url).unwrap();
                proptest::prop_assert_eq!(url.host_str(), Some("api.paypal.com"));
                proptest::prop_assert_eq!((url.scheme(), url.port(), url.username()), ("https", None, ""));
            }
        }
    }

    #[test]
    fn a_pattern_names_a_domain() {
        let local = Hosts::new(&["127.0.0.1:8081".to_owned()]).unwrap();
        assert!(local.check("http://127.0.0.1:8081/cert.pem").is_some());
        assert!(local.check("http://127.0.0.1:8082/cert.pem").is_none());
        for bad in ["10.0.0.1:80", "", "*", "*.com", "a.*", "https://a.b", "a b.c", "a..b", "a.b/"]
        {
            assert!(Hosts::new(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
