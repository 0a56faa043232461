//! Names that are alike.

/// The known name that is most like `name` in any case, if their likeness is more than `least`: of 1 they are the same, of 0
/// they have nothing in common.
pub fn nearest<'k>(
    name: &str,
    known: impl IntoIterator<Item = &'k str>,
    least: f64,
) -> Option<&'k str> {
    let name = name.to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&name, &known.to_lowercase());
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness > least)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_in_any_case_and_none_if_all_are_far() {
        let known = ["listen", "limits", "dedup"];
        assert_eq!(nearest("LISTN", known, 0.8), Some("listen"));
        assert_eq!(nearest("retention", known, 0.8), None);
    }
}
