//! Event name patterns, in which `*` stands for any text.

/// An event name pattern, matched without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob(Vec<String>);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Glob(text.to_ascii_lowercase().split('*').map(str::to_owned).collect())
    }

    /// True if the pattern matches; `name` is in lower case.
    pub(super) fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else { return self.0[0] == name };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(start) = rest.find(part.as_str()) else { return false };
            rest = &rest[start + part.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, name, matches) in [
            ("*", "", true),
            ("*", "orderevent", true),
            ("OrderEvent", "orderevent", true),
            ("OrderEvent", "orderevents", false),
            ("*Order*", "createorderevent", true),
            ("order.*", "order.created", true),
            ("order.*", "reorder.created", false),
            ("*.created", "order.created.twice", false),
            ("a*a", "a", false),
            ("a*b*a", "abba", true),
            ("a**a", "aa", true),
        ] {
            assert_eq!(Glob::new(glob).matches(name), matches, "{glob} {name}");
        }
    }
}
