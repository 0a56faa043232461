//! Charts, drawn by the server.

use maud::{Markup, html};

/// A chart of counts over time as bars, with its text for those who do not see it.
pub fn sparkline(counts: &[u64], label: &str) -> Markup {
    const HEIGHT: u64 = 28;
    const STEP: usize = 3;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = counts.len() * STEP;
    html! {
        svg.spark role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (HEIGHT) } width=(width) height=(HEIGHT) preserveAspectRatio="none" {
            @for (index, count) in counts.iter().enumerate() {
                @let height = (count * HEIGHT).div_ceil(most);
                @if height > 0 {
                    rect x=(index * STEP) y=(HEIGHT - height) width=(STEP - 1) height=(height) {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_count_is_the_full_height_and_the_smallest_is_seen() {
        let chart = sparkline(&[0, 1, 1000], "accepted").into_string();
        assert_eq!(chart.matches("<rect").count(), 2);
        assert!(chart.contains(r#"y="27" width="2" height="1""#), "{chart}");
        assert!(chart.contains(r#"y="0" width="2" height="28""#), "{chart}");
        assert!(!sparkline(&[0, 0], "none").into_string().contains("<rect"));
    }
}
